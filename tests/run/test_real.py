"""`engine run` and `engine shell` with real podman: right results, right faults, nothing left over."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from engine.adapters.podman_service import PodmanService
from engine.adapters.recipes import RecipeDirectory
from engine.adapters.results_dir import ResultsDirectory
from engine.adapters.workspace import Workdir
from engine.buildroot import PodmanSnapshotImages
from engine.cli import cli
from engine.cli.local import LocalRuns, local_settings, worker_id
from engine.cli.progress import NotesOnly
from engine.core.errors import BadInput
from engine.core.local import LocalCall
from engine.core.outcome import TaskOutcome
from tests.podman_fixtures import *  # noqa: F403 - fixtures
from tests.podman_fixtures import podman_environ
from tests.podmanhost import podman
from tools import cache, standin

pytestmark = [pytest.mark.podman, pytest.mark.usefixtures("podman_service")]
RECIPES = Path(__file__).parents[2] / "recipes"

TOY = """
recipe = 1
method = "toy"
params = [ { name = "script", type = "str", local = "true" }, { name = "seconds", type = "int", local = 60 } ]
result = "{{ artifacts.out.names }}"
[container]
network = "none"
workdir = "/"
env = { HOME = "/tmp" }
[[container.mounts]]
source = "{{ workspace.host }}/result"
target = "{{ workspace.path }}/result"
mode = "rw"
[[steps]]
name = "one"
log = "one.log"
timeout = "{{ params.seconds }}"
fails = "BuildError"
argv = ["/bin/sh", "-c", "cd \\"$1\\"; eval \\"$2\\"", "sh", "{{ workspace.path }}/result", "{{ params.script }}"]
[[artifacts]]
name = "out"
glob = ["result/*.txt"]
"""


@define
class Ended:
    """How `engine run` ended: its exit code, what it said, and the results it made."""

    code: int
    out: str
    err: str
    results: Path

    @property
    def outcome(self) -> Any:
        return json.loads((self.results / "result.json").read_text())

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.results)) for path in self.results.rglob("*") if path.is_file())


@define
class Engine:
    """The engine's command line with a work directory of its own."""

    workdir: Path
    results: Path
    environ: dict[str, str]

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "engine.cli", *map(str, words)]

    def run(self, *words: str | Path) -> Ended:
        given = [*words, "--workdir", self.workdir, "--results", self.results]
        done = subprocess.run(
            self.command("run", *given), env=self.environ, capture_output=True, text=True, timeout=300, check=False
        )
        return Ended(done.returncode, done.stdout, done.stderr, self.results)

    def shell(self, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = self.command("shell", *words, "--workdir", self.workdir)
        return subprocess.run(
            command, env=self.environ, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        command = self.command("run", *words, "--workdir", self.workdir, "--results", self.results)
        return subprocess.Popen(command, env=self.environ, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def leftovers(self) -> list[str]:
        label = f"label=io.koji.adjutant.worker_id={worker_id(str(self.workdir))}"
        found = podman("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()
        tasks = [str(number) for number in Workdir(str(self.workdir)).ids()] if self.workdir.exists() else []
        return found + tasks


@pytest.fixture(scope="session")
def image(podman_service: object) -> str:
    try:
        return standin.task_image()
    except standin.NotSetUp as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def repo() -> Path:
    try:
        return standin.world_repo()
    except standin.NotSetUp as reason:
        pytest.skip(str(reason))


def make_engine(workdir: Path, tmp_path: Path, image: str, service: PodmanService) -> Engine:
    environ = {**podman_environ(), "CONTAINER_HOST": service.url}
    environ |= {"ADJUTANT_TASK_IMAGE_DEFAULT": image, "ADJUTANT_IMAGE_PULL_POLICY": "never"}
    return Engine(workdir, tmp_path / "out", environ)


@pytest.fixture
def engine(tmp_path: Path, image: str, podman_service: PodmanService) -> Iterator[Engine]:
    """For recipes without a root of packages."""
    made = make_engine(tmp_path / "work", tmp_path, image, podman_service)
    yield made
    assert made.leftovers() == []


@pytest.fixture
def builder(tmp_path: Path, image: str, podman_service: PodmanService) -> Iterator[Engine]:
    """With a work directory that lives on, so that the root of packages is made once on a machine."""
    made = make_engine(cache.cache_dir() / "test-work", tmp_path, image, podman_service)
    yield made
    assert made.leftovers() == []


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/toy.toml").write_text(TOY)
    return tmp_path / "recipes"


# Builds


def build(builder: Engine, sample: str, repo: Path, *more: str | Path) -> Ended:
    return builder.run("buildArch", standin.srpm(sample), "--repo", repo, "--recipes", RECIPES, *more)


@pytest.mark.parametrize(
    ("sample", "rpms"),
    [
        ("hello-noarch", ["hello-noarch-1.0-1.el10.noarch.rpm", "hello-noarch-1.0-1.el10.src.rpm"]),
        ("hz", ["hz-1.2-1.el10.src.rpm", "hz-1.2-1.el10.x86_64.rpm"]),
    ],
)
def test_a_source_rpm_becomes_rpms(builder: Engine, repo: Path, sample: str, rpms: list[str]) -> None:
    ended = build(builder, sample, repo)
    assert ended.code == 0, ended.err
    assert [name for name in ended.files() if name.endswith(".rpm")] == rpms
    outcome = ended.outcome
    assert outcome["status"] == "done"
    (binary,) = [name for name in rpms if not name.endswith(".src.rpm")]
    assert outcome["result"]["rpms"] == [f"tasks/{outcome['task_id']}/{outcome['task_id']}/{binary}"]
    for name in rpms:
        assert f"  {name} (" in ended.out
        assert (builder.results / name).read_bytes()[:4] == b"\xed\xab\xee\xdb"
    logs = {log["name"]: log["bytes"] for log in outcome["logs"]}
    assert logs["build.log"] == (builder.results / "build.log").stat().st_size > 0
    if sample == "hz":
        assert "ok damage is noticed" in (builder.results / "build.log").read_text()


def test_an_autotools_project_of_thousands_of_files(builder: Engine, repo: Path) -> None:
    ended = build(builder, "grove", repo)
    assert ended.code == 0, ended.err
    assert any(name.startswith("grove-2.0") and "src" not in name for name in ended.files())


@pytest.mark.parametrize(
    ("sample", "step", "words"),
    [
        ("fails-in-build", "build", "error: 'forty_two' undeclared"),
        ("fails-in-check", "build", "Bad exit status from"),
        ("needs-unknown", "builddep", "no-such-library-devel"),
        ("corrupt-header", "srpm", "is not a source package"),
        ("corrupt-payload", "srpm", "cannot be installed"),
    ],
)
def test_a_packages_own_fault(builder: Engine, repo: Path, sample: str, step: str, words: str) -> None:
    ended = build(builder, sample, repo)
    assert ended.code == 1, ended.err
    failure = ended.outcome["failure"]
    assert failure["fault"] == "BuildError"
    assert failure["step"] == step
    assert words in ended.err
    assert failure["log"] in failure["message"]
    assert f"class:   {failure['fault']} (the task's own fault" in ended.err
    assert "--keep" in ended.err
    assert not [name for name in ended.files() if name.endswith(".rpm")]
    assert os.access(ended.results / "replay.sh", os.X_OK)


def test_a_repo_without_the_group(builder: Engine, repo: Path, tmp_path: Path) -> None:
    """The root cannot be made: nothing of the package was tried, and a log says so."""
    (tmp_path / "bare").mkdir()
    shutil.copy2(next(repo.rglob("make-4*.rpm")), tmp_path / "bare")
    subprocess.run(["createrepo_c", "-q", tmp_path / "bare"], check=True)
    ended = build(builder, "hz", tmp_path / "bare")
    assert ended.code == 1, ended.err
    failure = ended.outcome["failure"]
    assert failure["fault"] == "BuildrootError"
    assert "build" in failure["message"]
    assert failure["log"] == "root.log"
    assert "--- root.log" in ended.err
    assert ended.outcome["steps"] == []
    assert ended.files() == ["result.json", "root.log", "state.log"]


def test_a_repo_that_cannot_be_read_is_the_hosts_fault(builder: Engine, tmp_path: Path) -> None:
    (tmp_path / "torn/repodata").mkdir(parents=True)
    (tmp_path / "torn/repodata/repomd.xml").write_text("<repomd>")
    ended = build(builder, "hz", tmp_path / "torn")
    assert ended.code == 4, ended.err
    assert "half-written" in ended.outcome["failure"]["message"]


def test_keep_look_replay_remove(builder: Engine, repo: Path) -> None:
    ended = build(builder, "fails-in-build", repo, "--keep")
    number = ended.outcome["task_id"]
    try:
        assert f"engine shell {number}" in ended.err
        assert f"{number}  " in builder.shell("--list").stdout
        looked = builder.shell(number, stdin="id -u; ls /builddir/build/BUILD; grep CapEff /proc/self/status; exit 7\n")
        assert looked.returncode == 7
        assert looked.stdout.split() == ["1000", "fails-in-build-1.0", "CapEff:", "0000000000000000"]
        as_root = builder.shell(number, "--step", "builddep", stdin="id -u; test -d /target/builddir && echo there\n")
        assert as_root.stdout.split() == ["0", "there"]
        wrong = builder.shell(number, "--step", "biuld")
        assert wrong.returncode == 3
        assert "did you mean 'build'?" in wrong.stderr
        replay = subprocess.run(
            ["sh", ended.results / "replay.sh"], env=builder.environ, capture_output=True, text=True, check=False
        )
        assert replay.returncode == 1
        assert "'forty_two' undeclared" in replay.stderr + replay.stdout
    finally:
        removed = builder.shell("--remove", number)
    assert removed.returncode == 0, removed.stderr
    assert builder.shell(number).returncode == 3
    again = subprocess.run(["sh", ended.results / "replay.sh"], capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert "first run: env ADJUTANT_" in again.stderr
    assert " engine run buildArch " in again.stderr


# Bad input: nothing is started


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["buildArch", "none.src.rpm"], "none.src.rpm: no such file or directory"),
        (["buildArhc", "/dev/null"], "no recipe for method 'buildArhc' (did you mean 'buildArch'?)"),
        (["buildArch"], "srpm: an argument is missing"),
        (["createrepo", "/", "/", "/"], "3 arguments are given, createrepo takes packages, old"),
        (["createrepo", "/", "--param", "arhc=x86_64"], "params.arhc: unknown parameter (did you mean 'arch'?)"),
        (["createrepo", "/", "--repo", "/nowhere"], "/nowhere is neither a URL nor a directory"),
    ],
)
def test_bad_input(tmp_path: Path, words: list[str], said: str) -> None:
    given = ["run", *words, "--recipes", str(RECIPES), "--results", str(tmp_path / "out"), "--workdir"]
    given.append(str(tmp_path / "work"))
    with pytest.raises(BadInput) as caught:
        cli.main(given, standalone_mode=False)
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("work/[0-9]*"))


def test_results_of_somebody_else_are_refused_before_anything_runs(engine: Engine, toys: Path) -> None:
    engine.results.mkdir()
    (engine.results / "thesis.txt").write_text("mine")
    ended = engine.run("toy", "--recipes", toys)
    assert ended.code == 3
    assert "thesis.txt" in ended.err
    forced = engine.run("toy", "--recipes", toys, "--force", "--param", "script=echo hi > new.txt")
    assert forced.code == 0, forced.err
    assert forced.files() == ["new.txt", "one.log", "result.json", "thesis.txt"]


def test_root_is_said_once(engine: Engine, toys: Path) -> None:
    words = ["toy", "--recipes", toys, "--param", "script=echo hi > new.txt"]
    said = "note: runs as root"
    assert engine.run(*words).err.count(said) == (1 if os.geteuid() == 0 else 0)
    assert said not in engine.run(*words, "--quiet").err


# The host's fault


def test_a_wrong_image_name(engine: Engine, toys: Path) -> None:
    ended = engine.run("toy", "--recipes", toys, "--image", "localhost/no-such-image:1")
    assert ended.code == 4
    failure = ended.outcome["failure"]
    assert failure["fault"] == "infrastructure"
    assert "localhost/no-such-image:1" in failure["message"]
    assert "this host's fault" in ended.err
    assert ended.files() == ["result.json"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    "script",
    [
        "dd if=/dev/zero of=big.txt bs=1M count=20; exit 1",
        "dd if=/dev/zero of=big.txt bs=1M count=20; sleep 1; rm big.txt; exit 1",
        "while :; do echo 0123456789012345678901234567890123456789; done",
    ],
    ids=["result", "freed-again", "log"],
)
def test_a_full_disk(engine: Engine, toys: Path, small_disk: Path, script: str) -> None:
    engine.workdir = small_disk / "work"
    ended = engine.run("toy", "--recipes", toys, "--param", f"script={script}")
    assert ended.code == 4, ended.err
    failure = ended.outcome["failure"]
    assert failure["fault"] == "infrastructure"
    assert "disk full: " in failure["message"]
    assert f"free on {engine.workdir}" in failure["message"]
    assert sorted(path.name for path in engine.workdir.iterdir()) == [".lock"]


def test_a_disk_too_small_for_the_input(engine: Engine, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    text = TOY + '\n[[inputs]]\nname = "big"\nsource = "x"\n[local]\nargs = ["big"]\n'
    (tmp_path / "recipes/toy.toml").write_text(text)
    (tmp_path / "big").write_bytes(b"x" * 6_000_000)
    engine.workdir = small_disk / "work"
    ended = engine.run("toy", tmp_path / "big", "--recipes", tmp_path / "recipes")
    assert ended.code == 4
    assert "disk full" in ended.outcome["failure"]["message"]
    assert "/in/big" in ended.outcome["failure"]["message"]


def test_a_results_directory_on_a_full_disk(engine: Engine, toys: Path, small_disk: Path) -> None:
    engine.results = small_disk / "out"
    ended = engine.run("toy", "--recipes", toys, "--param", "script=dd if=/dev/zero of=big.txt bs=1M count=20")
    assert ended.code == 4
    assert "cannot store the results in" in ended.err
    assert list(small_disk.iterdir()) == []


# Ends of steps


def test_a_step_that_never_ends(engine: Engine, toys: Path) -> None:
    ended = engine.run("toy", "--recipes", toys, "--param", "script=sleep 1000", "--param", "seconds=1")
    assert ended.code == 1
    assert "no end after 1 s" in ended.outcome["failure"]["message"]


def test_a_step_killed_by_a_signal(engine: Engine, toys: Path) -> None:
    ended = engine.run("toy", "--recipes", toys, "--param", "script=kill -SEGV $$")
    assert ended.code == 1
    assert "signal 11 (SIGSEGV)" in ended.outcome["failure"]["message"]


def test_hostile_results(engine: Engine, toys: Path) -> None:
    """Links, fifos, devices' names, setuid bits, deep trees: what is a file arrives as a plain file."""
    script = (
        "ln -s /etc/passwd link.txt; mkfifo fifo.txt; echo good > good.txt; chmod 6777 good.txt; "
        "d=.; for i in $(seq 100); do d=$d/dddddddddddddddddddddddddddddddddd; mkdir $d; done; "
        "mkdir closed; touch closed/file; chmod 0 closed; printf '\\033[2Jowned\\n'"
    )
    ended = engine.run("toy", "--recipes", toys, "--param", f"script={script}")
    assert ended.code == 0, ended.err
    assert ended.outcome["result"] == ["good.txt"]
    assert (ended.results / "good.txt").stat().st_mode & 0o7777 == 0o755
    assert len(ended.outcome["notes"]) == 2
    assert "\x1b" not in ended.err


def test_a_name_with_a_newline_is_refused(engine: Engine, toys: Path) -> None:
    ended = engine.run("toy", "--recipes", toys, "--param", r"""script=touch "$(printf 'a\nb.txt')" """)
    assert ended.code == 1
    assert "is refused" in ended.outcome["failure"]["message"]


# Stopping


def wait_for(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def running(engine: Engine) -> list[str]:
    label = f"label=io.koji.adjutant.worker_id={worker_id(str(engine.workdir))}"
    return podman("ps", "--filter", label, "--format", "{{.Names}}").split()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopping_cleans_up(engine: Engine, toys: Path, number: signal.Signals) -> None:
    engine.environ["ADJUTANT_CONTAINER_TIMEOUTS_STOP_GRACE"] = "50"
    process = engine.start("toy", "--recipes", toys, "--param", "script=sleep 1000")
    wait_for(lambda: running(engine))
    begin = time.monotonic()
    os.killpg(process.pid, number)  # as a terminal does: the whole group
    _out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - begin < 40  # the step ends when it is asked to, not when the grace is over
    assert "stopping" in err
    assert not engine.results.exists()
    assert engine.leftovers() == []


def test_a_run_whose_output_nobody_reads_comes_to_its_end(engine: Engine, toys: Path) -> None:
    process = engine.start("toy", "--recipes", toys, "--param", "script=echo x > x.txt")
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert Ended(0, "", "", engine.results).outcome["result"] == ["x.txt"]


def test_stopping_cleans_up_although_the_reader_stopped_first(engine: Engine, toys: Path) -> None:
    """Ctrl-C at `engine run … | tee log` reaches both."""
    process = engine.start("toy", "--recipes", toys, "--param", "script=sleep 1000")
    wait_for(lambda: running(engine))
    assert process.stderr is not None
    process.stderr.close()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not engine.results.exists()


def test_a_step_that_ignores_sigterm_is_killed_within_the_grace(engine: Engine, toys: Path) -> None:
    engine.environ["ADJUTANT_CONTAINER_TIMEOUTS_STOP_GRACE"] = "1"
    script = "trap '' TERM; echo ready > ready.txt; while :; do sleep 1; done"
    process = engine.start("toy", "--recipes", toys, "--param", f"script={script}")
    wait_for(lambda: list(engine.workdir.glob("*/result/ready.txt")))
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert time.monotonic() - begin < 50


def test_what_a_killed_run_left_is_removed_by_the_next(engine: Engine, toys: Path) -> None:
    process = engine.start("toy", "--recipes", toys, "--param", "script=sleep 1000")
    wait_for(lambda: running(engine))
    process.kill()
    process.communicate()
    assert len(engine.leftovers()) == 2
    ended = engine.run("toy", "--recipes", toys)
    assert ended.code == 0, ended.err
    assert "removed what a killed run left: task 1" in ended.err


# createrepo


def test_createrepo_is_what_createrepo_c_makes_by_hand(engine: Engine, repo: Path, tmp_path: Path, image: str) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    rpms = sorted(repo.rglob("*.rpm"))
    assert len(rpms) >= 300
    for rpm in rpms:
        shutil.copy2(rpm, packages)
    ended = engine.run("createrepo", packages, "--recipes", RECIPES)
    assert ended.code == 0, ended.err
    by_hand = tmp_path / "by-hand"
    by_hand.mkdir()
    here = ["--volume", f"{packages}:/packages:ro", "--volume", f"{by_hand}:/out", "--network", "none"]
    podman("run", "--rm", *here, image, "createrepo_c", "-o", "/out", "/packages", env=engine.environ)
    mine, theirs = metadata(ended.results / "repo"), metadata(by_hand)
    assert mine.keys() == theirs.keys() >= {"primary", "filelists", "other"}
    for kind in ("primary", "filelists", "other"):
        assert mine[kind] == theirs[kind], kind
    assert mine["primary"].count(b"<package type=") == len(rpms)
    names = [Path(name).name for name in ended.files() if name.startswith("repo/repodata/")]
    assert sorted(ended.outcome["result"][1]) == names
    # dnf takes it, with the packages beside it
    served = ["--volume", f"{packages}:/srv:ro", "--volume", f"{ended.results}/repo/repodata:/srv/repodata:ro"]
    (packages / "repodata").mkdir()
    query = ["dnf", "-q", "--repofrompath=x,file:///srv", "--repo=x", "repoquery", "--all", "--qf", "%{name}"]
    listed = podman("run", "--rm", *served, "--network", "none", image, *query, env=engine.environ)
    assert len(set(listed.split())) == len({name_of(rpm) for rpm in rpms})


def name_of(rpm: Path) -> str:
    return rpm.name.rsplit("-", 2)[0]


def metadata(place: Path) -> dict[str, bytes]:
    """Kind -> uncompressed content of the repodata."""
    import xml.etree.ElementTree as ET

    space = "{http://linux.duke.edu/metadata/repo}"
    found = {}
    for data in ET.parse(place / "repodata/repomd.xml").getroot().iter(f"{space}data"):
        location = data.find(f"{space}location")
        assert location is not None
        path = place / location.attrib["href"]
        if path.suffix == ".gz":
            found[data.attrib["type"]] = gzip.decompress(path.read_bytes())
        else:
            done = subprocess.run(["zstd", "-dc", path], capture_output=True, check=False)
            found[data.attrib["type"]] = done.stdout or path.read_bytes()
    return found


# Many at once


def test_twenty_tasks_at_once_in_one_process(engine: Engine, toys: Path, tmp_path: Path, manager: Any) -> None:
    """None lost, none mixed up, no leftover."""
    import attrs

    settings = local_settings(None, workdir=str(engine.workdir))
    settings = attrs.evolve(settings, adjutant_task_image_default=engine.environ["ADJUTANT_TASK_IMAGE_DEFAULT"])
    runs = LocalRuns(
        recipes=RecipeDirectory([toys]),
        settings=settings,
        workdir=Workdir(str(engine.workdir)),
        manager=manager,
        images=PodmanSnapshotImages(manager.service),
    )
    numbers = range(20)
    outcomes: dict[int, TaskOutcome] = {}

    def work(number: int) -> None:
        call = LocalCall(method="toy", params={"script": f"echo {number} > {number}.txt; seq {number} 5000"})
        outcomes[number] = runs.run(
            call,
            delivery=lambda _plan: ResultsDirectory(str(tmp_path / f"out{number}")),
            display=lambda plan: NotesOnly(plan, sys.stderr),
        )

    threads = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: outcome.result for n, outcome in outcomes.items()} == {n: [f"{n}.txt"] for n in numbers}
    for number in numbers:
        assert (tmp_path / f"out{number}/{number}.txt").read_text() == f"{number}\n"
        text = (tmp_path / f"out{number}/one.log").read_text()
        assert text == "".join(f"{line}\n" for line in range(number, 5001))


def test_four_runs_at_once_do_not_meet(engine: Engine, toys: Path, tmp_path: Path) -> None:
    processes = []
    for number in range(4):
        engine.results = tmp_path / f"out{number}"
        processes.append(engine.start("toy", "--recipes", toys, "--param", f"script=sleep 1; echo {number} > a.txt"))
    for process in processes:
        _out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert [(tmp_path / f"out{number}/a.txt").read_text() for number in range(4)] == ["0\n", "1\n", "2\n", "3\n"]
