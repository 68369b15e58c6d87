"""Each hostile input: a clear outcome, bounded cost, nothing outside the task touched, nothing left."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from engine.adapters.recipes import read_recipe
from engine.core.errors import BadInput, EngineError
from engine.core.facts import Facts, Limit, Settings, TaskRequest
from engine.core.loader import load_recipe
from engine.core.plan import Plan
from engine.core.render import render
from tests.security import hostile
from tests.security.ground import LIMITS, TOY, Ended, Ground, OwnGround, Plain, PlainGround
from tests.security.peaks import Peaks, monitors

SETTINGS = Settings(limits=LIMITS)
SECONDS = 3.0


def rendered(text: str, **params: object) -> Plan:
    recipe = load_recipe(text, "recipes/toy.toml")
    return render(recipe, TaskRequest(method="toy", params=params), Facts(settings=SETTINGS))


def most_memory() -> int:
    """The most that this process had at once, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


class Cost:
    """Seconds of this thread's CPU and the process's growth in memory."""

    def __enter__(self) -> Cost:
        Path("/proc/self/clear_refs").write_text("5")  # the most so far is what it is now: earlier tests had their own
        self.start, self.memory = time.thread_time(), most_memory()
        return self

    def __exit__(self, *_error: object) -> None:
        assert time.thread_time() - self.start < SECONDS
        assert most_memory() - self.memory < 200_000


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


PRECIOUS = "words that are nobody's business"
LONG_AGO = 1_000_000_000


def make_outside(folder: Path) -> list[Path]:
    """`outside/precious`, which anybody could change, with times that any change would show."""
    outside = folder / "outside"
    outside.mkdir()
    (outside / "precious").write_text(PRECIOUS)
    outside.chmod(0o777)
    (outside / "precious").chmod(0o666)
    for path in (outside / "precious", outside):
        os.utime(path, (LONG_AGO, LONG_AGO))
    return [outside, outside / "precious"]


def assert_untouched(ground: Ground, ended: Ended) -> None:
    """Nothing outside was touched and nothing is left: directories, containers, processes, big files."""
    outside, results = ground.folder / "outside", ground.folder / "results"
    assert sorted(path.name for path in outside.iterdir()) == ["precious"]
    assert (outside / "precious").read_text() == PRECIOUS
    kept = (outside / "precious").lstat()
    assert (stat.S_IMODE(kept.st_mode), kept.st_nlink) == (0o666, 1)
    assert kept.st_mtime == outside.lstat().st_mtime == LONG_AGO
    assert ended.left == []
    end = time.monotonic() + 60
    while monitors(ground.worker) and time.monotonic() < end:  # conmon goes after its container, late on a busy host
        time.sleep(0.1)
    assert monitors(ground.worker) == []
    for path in results.rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or path.is_file()
        assert not path.lstat().st_mode & 0o6000 or path.is_dir()
        assert path.is_dir() or path.lstat().st_blocks * 512 < 8 * 1024**2
        assert path.is_dir() or PRECIOUS.encode() not in path.read_bytes()


@pytest.fixture(params=["root", "plain user"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Each case as root and as a plain user."""
    if request.param == "root":
        make_outside(tmp_path)
        yield OwnGround(tmp_path, request.getfixturevalue("manager"))
        return
    plain: Plain = request.getfixturevalue("plain")
    folder = Path(tempfile.mkdtemp(prefix="ground-", dir=plain.person.home))
    for path in (folder, *make_outside(folder)):
        os.chown(path, plain.person.uid, plain.person.uid)
    yield PlainGround(folder, plain)
    shutil.rmtree(folder)


@pytest.mark.podman
@pytest.mark.parametrize("case", hostile.SCRIPTS, ids=lambda case: case.name)
def test_a_hostile_build_is_contained(case: hostile.Script, ground: Ground, tiny_image: str) -> None:
    limits = evolve(LIMITS, **case.limits)
    started = time.monotonic()
    with Peaks(ground.worker) as peaks:
        ended = ground.run(case.script, image=tiny_image, limits=limits)
    seconds = time.monotonic() - started
    status, says, files = case.status, case.says, case.files
    if case.plain is not None and isinstance(ground, PlainGround):
        status, says, files = case.plain
    elif case.unbound and not ground.memory_binds:
        says = case.unbound
    assert ended.status == status, ended
    assert tuple(ended.names) == files
    # The package's fault, never the host's.
    assert ended.fault == ("BuildError" if status == "failed" else ""), ended
    assert re.search(says, ended.message), ended
    assert "\033" not in ended.message
    assert "\n" not in ended.message
    assert len(ended.message) < 2000
    assert seconds < 60
    assert_bounded(case, peaks, limits, ground)
    assert_untouched(ground, ended)
    log = ground.folder / "results/one.log"
    assert log.stat().st_size <= LIMITS.log_bytes + 200
    assert re.search(case.log, log.read_text(errors="replace"))


def assert_bounded(case: hostile.Script, peaks: Peaks, limits: Limit, ground: Ground) -> None:
    """What was seen stayed below the limits, and came up to the one that the case is about."""
    assert limits.pids is not None
    assert limits.memory is not None
    assert peaks.processes <= limits.pids + 2, peaks.processes  # the runtime's own, while it starts
    if case.meets == "pids":
        assert peaks.processes > limits.pids * 0.5, peaks.processes  # a busy host looks seldom
    if ground.memory_binds:
        assert peaks.memory <= limits.memory, peaks.memory
        if case.meets == "memory":
            assert peaks.memory > limits.memory * 0.75, peaks.memory


SPECS = {
    "writes while it is read": "%(touch /etc/broke $OUT/broke $OUT/precious 2>/dev/null; id -u)\n",
    "removes everything in %prep": "\n%prep\nrm -rf / --no-preserve-root $OUT 2>/dev/null || :\n",
    "forks in %build": "\n%build\nb() { b | b & }; b; sleep 1; exit 1\n",
    "leaves a daemon in %check": "\n%check\nsetsid sleep 300 >/dev/null 2>&1 &\n",
    "links out of the results": """
%install
mkdir -p %{buildroot}/x; ln -s /etc/shadow %{buildroot}/x/s; ln -s / /task/result/root.txt
ln -s $OUT/precious /task/result/p.txt
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
def test_a_hostile_spec_is_contained(name: str, ground: Ground, task_image: str) -> None:
    limits = evolve(LIMITS, memory=512 * 1024**2, pids=128, seconds=40)
    head = "Name: evil\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n"
    files = "" if "%files" in SPECS[name] else "%files\n"
    recipe = TOY + FILE.format(spec=head + SPECS[name] + files)
    script = "rpmbuild --define '_topdir /tmp/b' -bb /task/in/e.spec; cp /tmp/b/RPMS/*/*.rpm e.txt"
    ended = ground.run(script, image=task_image, limits=limits, recipe=recipe)
    assert ended.fault in {"", "BuildError"}, ended
    assert ended.names in ([], ["e.txt"])
    assert_untouched(ground, ended)


def test_the_documentation_has_these_counts() -> None:
    words = sum(map(len, (hostile.WORDS, hostile.WORDS_REFUSED, hostile.PATHS_REFUSED)))
    recipes, bombs, builds = len(hostile.RECIPES), len(hostile.BOMBS), len(hostile.SCRIPTS) + len(SPECS)
    tried = recipes + bombs + words + builds
    assert tried >= 60
    line = f"recipes {recipes}, TOML bombs {bombs}, parameters and paths {words}, builds {builds} | {tried} | {tried} |"
    text = (Path(__file__).parents[2] / "docs/security.md").read_text()
    assert f"| hostile inputs: {line}" in text
    assert f"| the {builds} hostile builds as an unprivileged user" in text
