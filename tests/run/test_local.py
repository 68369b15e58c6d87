"""From a command line to a task's request and facts, without a hub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from engine.adapters.inputs import LocalFiles
from engine.adapters.probes import answers
from engine.cli.check import check
from engine.cli.local import absolute, check_inputs, default_workdir, kinds_of, local_settings, package_repos, worker_id
from engine.core.errors import BadInput
from engine.core.facts import HostFacts, PackageRepo, ProbeAnswer, Settings
from engine.core.loader import load_recipe
from engine.core.local import LocalCall, local_task
from engine.core.plan import PlannedInput
from engine.core.recipe import Recipe

RECIPE = """
recipe = 1
method = "toy"
params = [
  { name = "pkg", type = "path", local = "local/x" },
  { name = "arch", type = "arch", local = "{{ host.arch }}" },
  { name = "opts", type = "dict", optional = true },
]
[[inputs]]
name = "srpm"
source = "{{ params.pkg }}"
[[inputs]]
name = "old"
source = "{{ params.pkg }}.old"
when = "params.opts"
[[steps]]
name = "one"
argv = ["true"]
[local]
args = ["srpm", "old"]
summary = "engine run toy FILE [OLD]"
"""
HOST = HostFacts(name="here", arch="aarch64", cpus=2)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(RECIPE, "toy.toml")


def task(recipe: Recipe, *inputs: str, **more: Any) -> Any:
    call = LocalCall(method="toy", inputs=inputs, **more)
    return local_task(recipe, call, settings=Settings(), host=HOST, task_id=4)


def test_arguments_are_inputs_and_params_have_local_values(recipe: Recipe) -> None:
    repos = (PackageRepo(name="repo1", url="https://example.org/"),)
    request, facts = task(recipe, "/a.src.rpm", repos=repos, image="img")
    assert request.params == {"pkg": "local/x", "arch": "aarch64"}
    assert (request.task_id, request.arch) == (4, "aarch64")
    assert facts.inputs == {"srpm": "/a.src.rpm"}
    assert (facts.repos, facts.image, facts.repo, facts.host) == (repos, "img", None, HOST)


def test_given_params_win(recipe: Recipe) -> None:
    request, _facts = task(recipe, "/a", "/b", params={"arch": "noarch"})
    assert request.arch == "noarch"
    assert request.params["arch"] == "noarch"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((), "command line: srpm: an argument is missing (engine run toy FILE [OLD])"),
        (("/a", "/b", "/c"), "3 arguments are given, toy takes srpm, old"),
    ],
)
def test_wrong_arguments(recipe: Recipe, inputs: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        task(recipe, *inputs)
    assert words in str(caught.value)


def test_repos(tmp_path: Path) -> None:
    (tmp_path / "good/repodata").mkdir(parents=True)
    (tmp_path / "good/repodata/repomd.xml").write_text("")
    (tmp_path / "link").symlink_to("good")
    found = package_repos(["https://example.org/$basearch", f"file://{tmp_path}/link"])
    assert found == (
        PackageRepo(name="repo1", url="https://example.org/$basearch"),
        PackageRepo(name="repo2", path=str(tmp_path / "good")),
    )
    with pytest.raises(BadInput) as caught:
        package_repos([str(tmp_path), "/no/such/place"])
    assert f"{tmp_path} has no repodata/repomd.xml (createrepo_c {tmp_path})" in str(caught.value)
    assert "/no/such/place is neither a URL nor a directory" in str(caught.value)


def test_inputs_are_looked_at_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BadInput) as caught:
        check_inputs([str(tmp_path / "none"), str(tmp_path / "fifo"), str(tmp_path)])
    assert "none: no such file or directory" in str(caught.value)
    assert "fifo: neither a file nor a directory" in str(caught.value)
    assert len(caught.value.problems) == 2


def test_mounted_directories_are_given_by_their_real_place(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "link").symlink_to("dir")
    (tmp_path / "file").write_text("")
    (tmp_path / "x.src.rpm").symlink_to("file")
    assert absolute([f"{tmp_path}/link", f"{tmp_path}/x.src.rpm"]) == (f"{tmp_path}/dir", f"{tmp_path}/x.src.rpm")


def planned(source: str, *, local: bool = True, path: str = "in/x") -> PlannedInput:
    return PlannedInput(name="srpm", source=source, path=path, local=local)


def test_files_of_this_host(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    os.mkfifo(tmp_path / "fifo")
    files = LocalFiles()
    with files.open(planned(str(tmp_path / "a"))) as stream:
        assert stream.read() == b"abc"
    files.check_tree(planned(str(tmp_path), path=""))
    for source, words in ((tmp_path / "no", "No such file"), (tmp_path / "fifo", "is not a file"), (tmp_path, "not a")):
        with pytest.raises(BadInput, match=rf"inputs.srpm: .*{words}"):
            files.open(planned(str(source)))
    with pytest.raises(BadInput, match="is on no hub here"):
        files.open(planned("tasks/1/x", local=False))
    with pytest.raises(BadInput, match="Not a directory"):
        files.check_tree(planned(str(tmp_path / "a"), path=""))


def test_probes(tmp_path: Path) -> None:
    (tmp_path / "pkglist").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("pkglist")
    (tmp_path / "broken").symlink_to("nothing")
    names = {name: str(tmp_path / name) for name in ("pkglist", "link", "broken", "none")}
    assert answers({**names, "dir": str(tmp_path), "empty": None, "nul": "a\0b"}) == {
        "pkglist": ProbeAnswer(exists=True, size=5),
        "link": ProbeAnswer(exists=True, size=5),
        "broken": ProbeAnswer(),
        "none": ProbeAnswer(),
        "dir": ProbeAnswer(exists=True, size=3),
        "empty": ProbeAnswer(),
        "nul": ProbeAnswer(),
    }


def test_two_work_directories_have_two_labels() -> None:
    assert worker_id("/a") != worker_id("/b")
    assert worker_id("/a") == worker_id("/x/../a")
    assert os.path.isabs(default_workdir())


def test_the_command_line_decides_about_network_and_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADJUTANT_CONFIG", "")
    (tmp_path / "worker.toml").write_text("adjutant_network_enabled = false\n")
    config = str(tmp_path / "worker.toml")
    assert local_settings(config).adjutant_network_enabled is False
    assert local_settings(config, network=True).adjutant_network_enabled is True
    assert local_settings(None, network=False).adjutant_network_enabled is False
    settings = local_settings(config, workdir=str(tmp_path / "w"))
    assert settings.workdir == str(tmp_path / "w")
    assert settings.worker_id == worker_id(str(tmp_path / "w"))


def test_an_empty_word_is_not_the_directory_we_are_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repodata").mkdir()
    (tmp_path / "repodata/repomd.xml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="--repo: is empty .name a URL or a directory"):
        package_repos([""])
    with pytest.raises(BadInput, match="an argument is empty"):
        check_inputs(absolute([""]))


def test_an_input_of_the_wrong_kind_is_refused_before_a_root_is_made(recipe: Recipe, tmp_path: Path) -> None:
    assert kinds_of(recipe) == ("file", "file")
    with pytest.raises(BadInput, match="is a directory, a file is wanted"):
        check_inputs([str(tmp_path)], kinds_of(recipe))
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is a file, a directory is wanted"):
        check_inputs([str(tmp_path / "file")], ["tree"])
    check_inputs([str(tmp_path / "file"), str(tmp_path)], ["file"])


@contextmanager
def as_nobody() -> Iterator[None]:
    """A user who may not look into a directory of root's."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_what_may_not_be_looked_at_is_not_said_to_be_missing(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    good = str(closed / "toy.toml")
    (closed / "toy.toml").write_text(RECIPE)
    assert CliRunner().invoke(check, [good]).exit_code == 0
    with as_nobody():
        with pytest.raises(BadInput, match=r"^--repo: .*/closed: Permission denied$"):
            package_repos([str(closed)])
        with pytest.raises(BadInput, match=r"toy\.toml: Permission denied$"):
            check_inputs([good])
        result = CliRunner().invoke(check, [good])
    assert (result.exit_code, f"{good}: cannot be read: Permission denied" in result.output) == (3, True)
