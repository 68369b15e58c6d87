"""Each hostile input: a clear outcome, bounded cost, nothing outside the task touched, nothing left."""

from __future__ import annotations

import io
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from engine.adapters.podman import PodmanManager
from engine.adapters.recipes import RecipeDirectory, read_recipe
from engine.adapters.results_dir import ResultsDirectory
from engine.adapters.workspace import Workdir
from engine.buildroot import PodmanSnapshotImages
from engine.cli.local import LocalRuns
from engine.cli.progress import NotesOnly, make_progress
from engine.core.errors import BadInput, EngineError
from engine.core.facts import Facts, Limit, Settings, TaskRequest
from engine.core.loader import load_recipe
from engine.core.local import LocalCall
from engine.core.manager import ContainerTimeouts
from engine.core.outcome import TaskOutcome
from engine.core.plan import Plan
from engine.core.render import render
from engine.core.spec import LABEL_WORKER_ID
from tests.security import hostile

LIMITS = Limit(memory=96 * 1024**2, cpus=2.0, pids=64, seconds=8, log_bytes=2 * 1024**2)
SETTINGS = Settings(limits=LIMITS)
SECONDS = 3.0


def rendered(text: str, **params: object) -> Plan:
    recipe = load_recipe(text, "recipes/toy.toml")
    return render(recipe, TaskRequest(method="toy", params=params), Facts(settings=SETTINGS))


class Cost:
    """Seconds of this process's CPU and its growth in memory."""

    def __enter__(self) -> Cost:
        self.start, self.memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return self

    def __exit__(self, *_error: object) -> None:
        assert time.process_time() - self.start < SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.memory < 200_000  # KiB


@pytest.mark.parametrize("case", hostile.RECIPES, ids=lambda case: case.name)
def test_a_recipe_over_the_ceiling_is_refused_with_its_key_path(case: hostile.Refused) -> None:
    with Cost(), pytest.raises(BadInput, match=case.says):
        rendered(case.text)


@pytest.mark.parametrize(("name", "text"), hostile.BOMBS, ids=[name for name, _text in hostile.BOMBS])
def test_a_bomb_costs_a_message(name: str, text: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with Cost(), pytest.raises(EngineError) as caught:
        render(read_recipe(path), TaskRequest(method="toy"), Facts(settings=SETTINGS))
    assert len(str(caught.value)) < 200_000
    assert "toy.toml" in str(caught.value)


PARAM = (
    hostile.HEAD
    + 'params = [{ name = "x", type = "str" }]\n'
    + hostile.STEP.replace('"true"', '"echo", "{{ params.x }}"')
)


@pytest.mark.parametrize("word", hostile.WORDS)
def test_a_parameter_arrives_as_one_inert_word_or_is_refused(word: str) -> None:
    if word.startswith("-"):
        with pytest.raises(BadInput, match="read as an option"):
            rendered(PARAM, x=word)
        return
    assert rendered(PARAM, x=word).steps[0].container.argv == ("echo", word)


@pytest.mark.parametrize("word", hostile.WORDS_REFUSED, ids=range(len(hostile.WORDS_REFUSED)))
def test_a_parameter_that_cannot_be_an_argument_is_refused(word: str) -> None:
    with pytest.raises(BadInput, match=r"argv\[1\]|params.x: has a NUL") as caught:
        rendered(PARAM, x=word)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", hostile.PATHS_REFUSED)
def test_a_path_that_leaves_the_work_directory_is_refused(path: str) -> None:
    text = (
        hostile.HEAD + 'params = [{ name = "x", type = "path" }]\n[[inputs]]\nname = "i"\nsource = "{{ params.x }}"\n'
    )
    with pytest.raises(BadInput, match=r"params\.x|inputs\[0\]\.source"):
        rendered(text + hostile.STEP, x=path)


# In containers

TOY = """
recipe = 1
method = "toy"
params = [ { name = "script", type = "str" } ]
result = "{{ artifacts.out.names }}"
[container]
network = "none"
env = { HOME = "/tmp" }
[[container.mounts]]
source = "{{ workspace.host }}/in"
target = "/task/in"
[[container.mounts]]
source = "{{ workspace.host }}/result"
target = "/task/result"
mode = "rw"
[[files]]
path = "x"
content = "input"
[[steps]]
name = "one"
log = "one.log"
fails = "BuildError"
argv = ["/bin/sh", "-c", "cd /task/result; eval \\"$1\\"", "sh", "{{ params.script }}"]
[[artifacts]]
name = "out"
glob = ["result/*.txt", "result/d/**"]
"""


class Ground:
    """A place to run hostile scripts in, and what must stay as it is."""

    def __init__(self, folder: Path, manager: PodmanManager, image: str) -> None:
        self.folder, self.manager = folder, manager
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "precious").write_text("precious")
        (folder / "recipes").mkdir()
        (folder / "recipes/toy.toml").write_text(TOY)
        self.settings = evolve(
            SETTINGS,
            workdir=str(folder / "work"),
            worker_id=manager.config.worker_id,
            adjutant_task_image_default=image,
            adjutant_image_pull_policy="never",
            adjutant_container_timeouts=ContainerTimeouts(stop_grace=1),
        )
        self.results = folder / "results"

    def run(self, script: str) -> TaskOutcome:
        runs = LocalRuns(
            recipes=RecipeDirectory([self.folder / "recipes"]),
            settings=self.settings,
            workdir=Workdir(self.settings.workdir),
            manager=self.manager,
            images=PodmanSnapshotImages(self.manager.service),
        )

        def display(plan: Plan) -> NotesOnly:
            return make_progress(plan, io.StringIO(), quiet=True)

        return runs.run(
            LocalCall(method="toy", params={"script": script}),
            delivery=lambda _plan: ResultsDirectory(str(self.results), force=True),
            display=display,
        )

    def assert_untouched(self) -> None:
        """Nothing outside was touched and nothing is left: directories, containers, processes, big files."""
        assert sorted(path.name for path in self.outside.iterdir()) == ["precious"]
        assert (self.outside / "precious").read_text() == "precious"
        assert Workdir(self.settings.workdir).ids() == []
        assert self.manager.containers({LABEL_WORKER_ID: self.settings.worker_id}) == []
        assert monitors(self.settings.worker_id) == []
        for path in self.results.rglob("*"):
            assert not path.is_symlink()
            assert path.is_dir() or path.is_file()
            assert not path.lstat().st_mode & 0o6000 or path.is_dir()
            assert path.is_dir() or path.lstat().st_blocks * 512 < 8 * 1024**2


def monitors(worker: str) -> list[str]:
    """conmon processes of this worker: one that is left means a container that is left."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"conmon") and any(word.startswith(f"adjutant-{worker}-".encode()) for word in words):
                found.append(entry.name)
    return found


@pytest.fixture
def ground(tmp_path: Path, manager: PodmanManager, tiny_image: str) -> Iterator[Ground]:
    return Ground(tmp_path, manager, tiny_image)


@pytest.mark.podman
@pytest.mark.parametrize("case", hostile.SCRIPTS, ids=lambda case: case.name)
def test_a_hostile_build_is_contained(case: hostile.Script, ground: Ground) -> None:
    if "no end after" in case.says and "memory" not in case.says:
        ground.settings = evolve(ground.settings, limits=evolve(LIMITS, seconds=3))
    started = time.monotonic()
    outcome = ground.run(case.script)
    seconds = time.monotonic() - started
    if case.status != "any":
        assert outcome.status == case.status, outcome
    if outcome.failure is not None:
        assert outcome.failure.fault == "BuildError", outcome.failure  # the package's fault, never the host's
        assert re.search(case.says, outcome.failure.message), outcome.failure
        assert "\033" not in outcome.failure.message
        assert "\n" not in outcome.failure.message
        assert len(outcome.failure.message) < 2000
    names = [file.name for artifact in outcome.artifacts for file in artifact.files]
    if case.status == "done":
        assert tuple(names) == case.files
    assert seconds < 60
    ground.assert_untouched()
    log = ground.results / "one.log"
    assert log.stat().st_size <= LIMITS.log_bytes + 200


SPECS = {
    "writes while it is read": "%(touch /etc/broke /outside/broke 2>/dev/null; id -u)\n",
    "removes everything in %prep": "\n%prep\nrm -rf / --no-preserve-root 2>/dev/null || :\n",
    "forks in %build": "\n%build\nb() { b | b & }; b; sleep 1; exit 1\n",
    "leaves a daemon in %check": "\n%check\nsetsid sleep 300 >/dev/null 2>&1 &\n",
    "links out of the results": """
%install
mkdir -p %{buildroot}/x; ln -s /etc/shadow %{buildroot}/x/s; ln -s / /task/result/root.txt
%files
/x/s
""",
    "setuid and foreign owner": """
%install
mkdir -p %{buildroot}/x; cp /bin/true %{buildroot}/x/t
%files
%attr(6755,root,root) /x/t
""",
}


FILE = """
[[files]]
path = "e.spec"
literal = true
content = \'\'\'
{spec}\'\'\'
"""


@pytest.mark.podman
@pytest.mark.parametrize("name", SPECS)
def test_a_hostile_spec_is_contained(name: str, tmp_path: Path, manager: PodmanManager, task_image: str) -> None:
    ground = Ground(tmp_path, manager, task_image)
    ground.settings = evolve(ground.settings, limits=evolve(LIMITS, memory=512 * 1024**2, pids=128, seconds=40))
    head = "Name: evil\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n"
    files = "" if "%files" in SPECS[name] else "%files\n"
    (ground.folder / "recipes/toy.toml").write_text(TOY + FILE.format(spec=head + SPECS[name] + files))
    outcome = ground.run("rpmbuild --define '_topdir /tmp/b' -bb /task/in/e.spec; cp /tmp/b/RPMS/*/*.rpm e.txt")
    if outcome.failure is not None:
        assert outcome.failure.fault == "BuildError", outcome.failure
    assert [file.name for artifact in outcome.artifacts for file in artifact.files] in ([], ["e.txt"])
    ground.assert_untouched()


def test_there_are_at_least_sixty() -> None:
    tables = (hostile.RECIPES, hostile.BOMBS, hostile.WORDS, hostile.WORDS_REFUSED, hostile.PATHS_REFUSED)
    assert sum(map(len, (*tables, hostile.SCRIPTS, SPECS))) >= 60
