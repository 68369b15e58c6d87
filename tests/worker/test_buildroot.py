"""Where the packages of a root come from, and how the hub is told: contract 5.4 to 5.6."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import koji
import pytest

from engine.core.errors import InfrastructureError, TaskFailed
from engine.core.facts import PackageRepo, RepoFacts
from engine.worker.buildroot import (
    Origins,
    PackageFiles,
    RepoFiles,
    TrackedBuildroot,
    checked_packages,
    repomd_location,
)
from tests.hub import HubStandIn, minimal_rpm

REPO = RepoFacts(id=7, tag_id=1, tag_name="t", create_event=5)
EXTERNAL = ({"external_repo_id": 31, "url": "http://ext/$arch/"},)


def package(name: str = "foo", **changes: Any) -> dict[str, Any]:
    return {
        "name": name, "version": "1", "release": "2", "epoch": None, "arch": "x86_64",
        "size": 10, "buildtime": 11, "payloadhash": "ab" * 16, **changes,
    }  # fmt: skip


def repo_dir(folder: Path, known: list[dict[str, Any]], origins: str | None = None) -> RepoFiles:
    """A repo of the hub's shape below `folder`."""
    (folder / "repodata").mkdir(parents=True)
    (folder / "rpmlist.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known))
    record = ""
    if origins is not None:
        (folder / "repodata" / "pkgorigins.gz").write_bytes(gzip.compress(origins.encode()))
        record = '<data type="origin"><location href="repodata/pkgorigins.gz"/></data>'
    (folder / "repodata" / "repomd.xml").write_text(f'<repomd><data type="primary"/>{record}</repomd>')
    return RepoFiles(PackageRepo(name="build", path=str(folder)))


def test_internal_packages_get_their_ids(tmp_path: Path) -> None:
    origins = Origins(REPO, repo_dir(tmp_path, [package(id=5)]), (), "x86_64")
    assert origins.mark([package()]) == [package(id=5)]


def test_a_package_that_is_not_in_the_list_goes_without_id(tmp_path: Path) -> None:
    origins = Origins(REPO, repo_dir(tmp_path, []), (), "x86_64")
    assert origins.mark([package()]) == [package()]


def test_another_hash_than_the_repos_fails(tmp_path: Path) -> None:
    origins = Origins(REPO, repo_dir(tmp_path, [package(id=5)]), (), "x86_64")
    with pytest.raises(TaskFailed, match=r"hash mismatch for rpm foo-1-2\.x86_64") as caught:
        origins.mark([package(payloadhash="cd" * 16)])
    assert caught.value.fault == "BuildrootError"


def test_external_packages_get_their_repo(tmp_path: Path) -> None:
    text = "foo-1-2.x86_64\thttp://ext/x86_64/\n3:bar-1-2.x86_64\tfile:///x/repo_7_premerge/\n"
    files = repo_dir(tmp_path, [package("bar", id=6, epoch=3)], text)
    marked = Origins(REPO, files, EXTERNAL, "x86_64").mark([package(), package("bar", epoch=3)])
    assert marked == [package(location=31), package("bar", epoch=3, id=6)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("bar-1-2.x86_64\thttp://ext/x86_64/", "No origin for foo-1-2.x86_64"),
        ("foo-1-2.x86_64\thttp://other/", "Unknown origin for foo-1-2.x86_64: http://other/"),
        ("foo-1-2.x86_64\tfile:///x/repo_8_premerge/", "Unknown origin"),
    ],
)
def test_packages_of_unknown_origin_fail(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(TaskFailed, match=words):
        Origins(REPO, repo_dir(tmp_path, [], line), EXTERNAL, "x86_64").mark([package()])


def test_a_repo_without_origins_fails_where_they_are_needed(tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match="no record of the packages' origins"):
        Origins(REPO, repo_dir(tmp_path, []), EXTERNAL, "x86_64").mark([package()])


@pytest.mark.parametrize(
    "data", [b"no gzip", gzip.compress(b"foo-1-2.x86_64\thttp://ext/\n")[:-9]], ids=["no gzip", "cut off"]
)
def test_a_broken_record_of_origins_is_named(tmp_path: Path, data: bytes) -> None:
    files = repo_dir(tmp_path, [], "")
    (tmp_path / "repodata" / "pkgorigins.gz").write_bytes(data)
    with pytest.raises(TaskFailed, match=r"^repodata/pkgorigins.gz of repo 7 cannot be read: ") as caught:
        Origins(REPO, files, EXTERNAL, "x86_64").mark([package()])
    assert caught.value.fault == "BuildrootError"


@pytest.mark.parametrize("text", ['{"name": "foo"', '{"name": "foo"}', "7", "\xff"])
def test_a_broken_list_of_the_repos_packages_is_named(tmp_path: Path, text: str) -> None:
    files = repo_dir(tmp_path, [])
    (tmp_path / "rpmlist.jsonl").write_text(text, encoding="latin-1")
    with pytest.raises(TaskFailed, match=r"^rpmlist.jsonl of repo 7 cannot be read: ") as caught:
        Origins(REPO, files, (), "x86_64").mark([package()])
    assert caught.value.fault == "BuildrootError"


def test_repomd_with_entities_is_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "b">]><repomd><data type="origin"><location href="&a;"/></data></repomd>'
    with pytest.raises(InfrastructureError, match="entities are refused"):
        repomd_location(bomb, "origin")
    with pytest.raises(InfrastructureError, match="cannot be read"):
        repomd_location(b"<html>", "origin")
    away = b'<repomd><data type="origin"><location href="../../../etc/passwd"/></data></repomd>'
    assert repomd_location(away, "origin") is None


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"epoch": "0"}, "epoch: must be int, got '0'"),
        ({"size": True}, "size: must be int, got True"),
        ({"payloadhash": None}, "payloadhash: must be str"),
    ],
)
def test_what_a_container_says_is_checked(row: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(checked_packages([package(**row)]))
    with pytest.raises(ValueError, match="must be a list"):
        list(checked_packages({}))


def test_only_the_hubs_keys_are_sent_and_keys_are_no_packages() -> None:
    rows = [package(extra="x"), package("gpg-pubkey"), package("buildsys-build")]
    assert list(checked_packages(rows)) == [package()]


def test_the_record_of_installing_steps_wins_over_what_a_build_could_write(tmp_path: Path) -> None:
    for directory, name in (("record", "real"), ("result", "forged")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "installed_after.json").write_text(json.dumps([package(name)]))
    known = {"installed_before.json": json.dumps([package("warm")])}
    (tmp_path / "result" / "installed_before.json").write_text(json.dumps([package("forged")]))
    files = PackageFiles(str(tmp_path), known)
    assert [row["name"] for row in files.after() or []] == ["real"]
    assert [row["name"] for row in files.before() or []] == ["warm"]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "secret").write_text(json.dumps([package()]))
    os.symlink(tmp_path / "secret", tmp_path / "result" / "installed_after.json")
    with pytest.raises(TaskFailed, match=r"result/installed_after\.json"):
        PackageFiles(str(tmp_path)).after()
    assert PackageFiles(str(tmp_path)).before() is None


@pytest.mark.parametrize("lost", [None, "host.newBuildRoot", "host.setBuildRootState"])
def test_the_states_of_a_buildroot(hub: HubStandIn, tmp_path: Path, lost: str | None) -> None:
    from engine.worker.session import WorkerSession

    rpm = tmp_path / "foo-1-1.x86_64.rpm"
    rpm.write_bytes(minimal_rpm("foo", "1", "1", "x86_64"))
    hub.add_tag("t", "x86_64", groups={"build": []})
    repo = hub.add_repo("t", [rpm])
    options = {"user": "builder1", "password": "builder1", "use_fast_upload": True, "retry_interval": 0.1}
    session = WorkerSession(hub.url, options)
    session.login()
    session.exclusiveSession()
    task = hub.make_task("toy", [])
    session.host.updateHost(0.0, True, data={"methods": ["toy"], "maxjobs": 4})
    hub.assign(task, "builder1")
    session.host.openTask(task)
    if lost:
        hub.lose_answers(lost)
    facts = RepoFacts(id=repo, tag_id=1, tag_name="t")
    root = TrackedBuildroot(session, task, facts, "x86_64")
    assert root.name == f"t-{root.id}-{repo}"
    assert len(hub.session().listBuildroots(taskID=task)) == 1
    root.set_packages([])
    root.update_packages([])
    root.expire()
    root.expire()
    assert hub.session().getBuildroot(root.id)["state"] == koji.BR_STATES["EXPIRED"]
    session.logout()
