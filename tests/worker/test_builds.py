"""Builds and repositories of a real hub's kind: real source packages, a real repo, the shipped recipes."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xmlrpc.client import Fault

import koji
import pytest
import tomli_w

from tests.hub import HubStandIn
from tests.podmanhost import podman, task_image
from tests.rpmdiff import koji_hash
from tests.worker.conftest import AnyHub, StartWorker
from tests.worker.workshop import WorkerProcess, fault_of, wait_for
from tools import standin

__all__ = ["task_image"]
pytestmark = pytest.mark.podman

TAG = "dist-test-build"
KOJIDS = ("hw_info.log", "installed_pkgs.log")
"""What kojid sends of a failed build too, once there is a root."""
RECIPES = Path(__file__).parents[2] / "recipes"
KOJID_BUILD = next((Path(__file__).parents[1] / "data" / "transcripts").glob("48-*.jsonl"))


@pytest.fixture
def world(hub: AnyHub) -> int:
    """Id of a READY repo of the tag with the packages a build needs."""
    if hub.live:
        return hub.ready_repo()
    try:
        source = standin.world_repo()
    except standin.NotSetUp as reason:
        pytest.skip(str(reason))
    hub.add_tag(
        TAG,
        "x86_64",
        {
            "rpm.macro.dist": ".t1",
            "rpm.env.SITE": "test",
            "mock.new_chroot": 1,
            "adjutant.image": "registry.example.org/any:1",
        },
        groups={"build": ["bash"], "srpm-build": ["bash"]},
    )
    repo = hub.add_repo(TAG, source)
    # The stand-in shows the packages through links, which lead nowhere in a container.
    for link in (hub.repo_dir(repo) / "x86_64").iterdir():
        if link.is_symlink() and link.name != "toplink":
            target = link.resolve()
            link.unlink()
            if target.is_dir():
                shutil.copytree(target, link, copy_function=os.link)
            else:
                os.link(target, link)
    return repo


@pytest.fixture
def builder(hub: AnyHub, make_worker: StartWorker, task_image: str) -> WorkerProcess:
    """A worker with the shipped recipes, on the stand-in's mounted tree: containers cannot reach 127.0.0.1."""
    return make_worker(image=task_image, recipes=RECIPES, topurl=hub.topurl if hub.live else "").start()


@pytest.fixture
def file_server(hub: HubStandIn) -> Iterator[str]:
    """The hub's file tree at an address that containers reach."""
    with serve(partial(QuietFiles, directory=str(hub.topdir))) as url:
        yield url


@pytest.fixture
def proxy(hub: HubStandIn) -> Iterator[tuple[str, list[str]]]:
    """A proxy that serves whatever host is asked for from the hub's file tree; its address, and what it was asked."""
    asked: list[str] = []

    class Proxy(QuietFiles):
        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            asked.append(self.path)
            self.path = urlsplit(self.path).path
            super().do_GET()

    with serve(partial(Proxy, directory=str(hub.topdir))) as url:
        yield url, asked


@contextmanager
def serve(handler: Callable[..., SimpleHTTPRequestHandler]) -> Iterator[str]:
    """A server at an address that containers reach: the host's own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; asks which address would be used
        except OSError:
            pytest.skip("this host has no network")
        address = probe.getsockname()[0]
    with ThreadingHTTPServer(("0.0.0.0", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{address}:{server.server_address[1]}"
        server.shutdown()


class QuietFiles(SimpleHTTPRequestHandler):
    """Files without a line on standard error for each."""

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


def kojids_words() -> str:
    """What a kojid told a real hub of a build that failed (transcript 51)."""
    (transcript,) = (Path(__file__).parents[1] / "data" / "transcripts").glob("51-*.jsonl")
    calls = map(json.loads, transcript.read_text().splitlines())
    (fault, *_same) = [call["params"][1] for call in calls if call.get("method") == "host.failTask"]
    return ElementTree.fromstring(fault).findtext(".//string") or ""


def tag_of(hub: AnyHub, repo: int) -> str:
    return hub.repo_dir(repo).parent.name


def offer_build(hub: AnyHub, repo: int, sample: str, *, keep_srpm: bool = True, **options: Any) -> int:
    """A task to build the source package of a sample, uploaded as the command line client does."""
    uploaded = hub.upload(standin.srpm(sample), f"cli-build/{sample}")
    arguments = [uploaded, tag_of(hub, repo), "x86_64", keep_srpm, {"repo_id": repo}]
    return hub.make_task("buildArch", arguments, arch="x86_64", **options)


@pytest.mark.any_hub
def test_a_build(hub: AnyHub, builder: WorkerProcess, world: int) -> None:
    task = offer_build(hub, world, "hz")
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, builder)
    result = hub.result(task)
    assert set(result) == {"rpms", "srpms", "logs", "brootid"}
    (srpm,) = [Path(path).name for path in result["srpms"]]
    assert re.fullmatch(r"hz-1\.2-1(\.\w+)?\.src\.rpm", srpm)
    assert all((hub.topdir / "work" / path).stat().st_size for path in [*result["rpms"], *result["logs"]])
    names = {Path(path).name for path in result["logs"]}
    assert {"mock_config.log", "root.log", "build.log", "mock_output.log", "adjutant_plan.log"} <= names
    output = (hub.task_dir(task) / "mock_output.log").read_text()
    for words in ("INFO: buildroot: ", "Start: build (building); its output is in build.log", "INFO: done\n"):
        assert words in output, output
    assert "noarch_rpmdiff.json" not in names
    environment = (hub.task_dir(task) / "mock_config.log").read_text()
    if not hub.live:  # what the fixture gave the tag
        assert srpm == "hz-1.2-1.t1.src.rpm"
        assert "macro %dist = .t1" in environment
        assert "env SITE = test" in environment
        assert "tag setting mock.new_chroot = 1 has no effect: there is no chroot" in environment
        assert "as tag dist-test-build's adjutant.image is not below adjutant_images_allowed\n" in environment
    image = builder.settings["adjutant_task_image_default"]
    image_id, digest = podman("image", "inspect", image, "--format", "{{.Id}} {{.Digest}}").split()
    assert f"# image {image} = {image_id} {digest}\n" in environment
    assert builder.terminate() == 0
    builder.assert_nothing_left()


def test_a_build_over_the_network(
    hub: HubStandIn, make_worker: StartWorker, task_image: str, world: int, file_server: str
) -> None:
    worker = make_worker(image=task_image, recipes=RECIPES, topurl=file_server, topdir="/nonexistent").start()
    task = offer_build(hub, world, "hz")
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, worker)
    assert f"repo.build = {file_server}/repos/" in (hub.task_dir(task) / "mock_config.log").read_text()
    again = offer_build(hub, world, "hz")
    assert hub.wait_task(again, 200)["state_name"] == "CLOSED", _words(hub, again, worker)
    assert "build requirements there already" in (hub.task_dir(again) / "root.log").read_text()
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_packages_come_through_the_operators_proxy(
    hub: HubStandIn,
    make_worker: StartWorker,
    task_image: str,
    world: int,
    file_server: str,
    proxy: tuple[str, list[str]],
) -> None:
    """kojid's yum_proxy: dnf's, while the root is made and while requirements are installed."""
    address, asked = proxy
    worker = make_worker(image=task_image, recipes=RECIPES, topurl=file_server, topdir="/nonexistent")
    worker.settings["variables"] = {"yum_proxy": address}
    worker.start()
    task = offer_build(hub, world, "hz")
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, worker)
    assert all(url.startswith(f"{file_server}/repos/") for url in asked), asked
    names = [url.rpartition("/")[2] for url in asked]
    assert "repomd.xml" in names  # resolved
    assert [name for name in names if name.endswith(".rpm")]  # installed: the requirements at least
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_an_idle_worker_makes_roots_before_they_are_needed(
    hub: AnyHub, make_worker: StartWorker, task_image: str, world: int
) -> None:
    worker = make_worker(image=task_image, recipes=RECIPES, topurl=hub.topurl if hub.live else "")
    warm = f"buildArch {tag_of(hub, world)} x86_64"
    worker.settings["buildroots"] = {"warm": ["unheard x x86_64", warm, "buildArch absent x86_64"]}
    worker.start()
    snapshots = worker.workdir / "buildroots" / "snapshots"
    wait_for(lambda: list(snapshots.glob("*.json")), 200, worker.log.read_text())
    wait_for(lambda: "buildArch absent x86_64: " in worker.log.read_text(), 60, worker.log.read_text())
    words = "buildroots.warm: unheard x x86_64: settings: buildroots.warm: unheard is served by no recipe"
    assert words in worker.log.read_text()
    task = offer_build(hub, world, "hz")
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, worker)
    assert "buildroot: hit: the repo is known" in (hub.task_dir(task) / "root.log").read_text()
    counts = json.loads((worker.workdir / "buildroots" / "counts.json").read_text())
    assert (counts.get("hit"), counts.get("full")) == (1, None)
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_the_buildroot_is_tracked(hub: AnyHub, builder: WorkerProcess, world: int) -> None:
    task = offer_build(hub, world, "hz", keep_srpm=False)
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, builder)
    root = hub.result(task)["brootid"]
    order = [
        (call.method, call.args[1] if call.method == "host.setBuildRootState" else None)
        for call in hub.call_log
        if "BuildRoot" in call.method and call.method.startswith("host.")
    ]
    assert order == [
        ("host.newBuildRoot", None),
        ("host.setBuildRootList", None),
        ("host.setBuildRootState", "BUILDING"),
        ("host.updateBuildRootList", None),
        ("host.setBuildRootState", "EXPIRED"),
    ]
    row = hub.session().getBuildroot(root)
    assert (row["state"], row["task_id"], row["repo_id"], row["arch"]) == (3, task, world, "x86_64")
    first = hub.calls("host.setBuildRootList")[0].args[1]
    assert {"bash", "make"} <= {package["name"] for package in first}
    assert all(package.get("id") or package.get("location") for package in first)
    assert hub.live or all(package["id"] for package in first)
    stored = {rpm["name"] for rpm in hub.session().listRPMs(componentBuildrootID=root)}
    assert stored >= {package["name"] for package in first}
    rpmlist = (hub.repo_dir(world) / "x86_64" / "rpmlist.jsonl").read_text()
    known = {row["id"]: row for row in map(json.loads, rpmlist.splitlines())}
    own = [package for package in first if "id" in package]
    assert all(known[package["id"]]["payloadhash"] == package["payloadhash"] for package in own)


@pytest.mark.any_hub
@pytest.mark.parametrize(
    ("sample", "log"), [("fails-in-build", "build.log"), ("fails-in-check", "build.log"), ("needs-unknown", "root.log")]
)
def test_a_package_that_does_not_build(hub: AnyHub, builder: WorkerProcess, world: int, sample: str, log: str) -> None:
    task = offer_build(hub, world, sample)
    assert hub.wait_task(task, 200)["state_name"] == "FAILED"
    code, text = fault_of(hub, task)
    assert code == koji.BuildError.faultCode
    if log == "build.log":
        assert text == kojids_words()
    assert text.startswith("error building package (arch x86_64), mock exited with status ")
    assert text.endswith(f"{'build.log or ' if log == 'build.log' else ''}root.log for more information")
    assert (hub.task_dir(task) / log).stat().st_size > 0
    there = {path.name for path in hub.task_dir(task).iterdir()}
    assert f" - ERROR: {text}\n" in (hub.task_dir(task) / "mock_output.log").read_text()
    assert "Start: buildroot\n" in (hub.task_dir(task) / "state.log").read_text()
    assert {"mock_config.log", "root.log", "state.log", *(() if log == "root.log" else KOJIDS)} <= there
    assert not [name for name in there if name.endswith(".rpm")]
    assert hub.calls("host.setBuildRootState")[-1].args[1] == "EXPIRED"
    assert hub.session().getBuildroot(hub.session().listBuildroots(taskID=task)[0]["id"])["state"] == 3


@pytest.mark.any_hub
def test_noarch_packages_are_hashed_for_the_hub(hub: AnyHub, builder: WorkerProcess, world: int) -> None:
    """Contract 4.2 step 9; the hash is held against the library's own, by this host's rpm."""
    task = offer_build(hub, world, "hello-noarch", keep_srpm=False)
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, builder)
    result = hub.result(task)
    assert f"tasks/{task % 10000}/{task}/noarch_rpmdiff.json" in result["logs"]
    assert not [path for path in result["logs"] if path.endswith("noarch_rpmdiff.log")]
    (package,) = hub.task_dir(task).glob("*.noarch.rpm")
    said = json.loads((hub.task_dir(task) / "noarch_rpmdiff.json").read_text())
    assert said == {str(task): {package.name: koji_hash(package)}}
    assert builder.terminate() == 0
    builder.assert_nothing_left()


@pytest.mark.any_hub
def test_a_build_tells_the_hub_what_kojid_told_it_in_the_same_order(
    hub: AnyHub, builder: WorkerProcess, world: int
) -> None:
    """Held against the wire traffic of a kojid with a real hub. Logs are sent as they grow, so they have no order."""
    lines = [json.loads(line) for line in KOJID_BUILD.read_text().splitlines()[1:]]
    (session,) = {line["session"] for line in lines if line.get("params", [])[:1] == [10]}
    recorded = [(line["method"], line.get("params", [])) for line in lines if line["session"] == session]
    task = offer_build(hub, world, "hello-noarch")
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, builder)
    wait_for(lambda: hub.calls("logoutChild"))
    said = [(call.method, list(call.args)) for call in hub.call_log if call.who == f"{hub.builder}/sub"]
    expected = changes(recorded)
    assert len(expected) == 11
    assert changes(said) == [step for step in expected if step != "*.x86_64.rpm"]  # it makes none


def changes(calls: Iterable[tuple[str, list[Any]]]) -> list[str]:
    """What a task's process changed on the hub, logs and its weight aside."""
    steps = []
    for method, params in calls:
        if method == "checkUpload":
            name = params[1]
            steps.append("*." + ".".join(name.rsplit(".", 2)[1:]) if name.endswith(".rpm") else name)
        elif method == "host.setBuildRootState":
            steps.append(f"{method} {params[1]}")
        elif method == "logout" or method.startswith("host."):
            steps.append(method)
    return [step for step in steps if not step.endswith(".log") and step not in {"host.setTaskWeight", "host.getHost"}]


@pytest.mark.any_hub
def test_a_build_with_wrong_arguments(hub: AnyHub, builder: WorkerProcess) -> None:
    task = hub.make_task("buildArch", [7, TAG, "x86_64", True, {"repo_id": 1}], arch="x86_64")
    assert hub.wait_task(task, 60)["state_name"] == "FAILED"
    code, text = fault_of(hub, task)
    assert (code, "params.pkg: must be" in text) == (koji.ParameterError.faultCode, True)


def test_a_tag_for_other_architectures_is_refused(hub: HubStandIn, builder: WorkerProcess) -> None:
    hub.add_tag("other", "s390x")
    task = hub.make_task("buildArch", ["x.src.rpm", "other", "noarch", True, {"repo_id": 1}])
    call = wait_for(lambda: hub.calls("host.refuseTask"))[0]
    assert (call.args[0], call.kwargs) == (task, {"soft": False, "msg": "failed host check"})


def test_a_repo_that_cannot_be_built_from(hub: HubStandIn, builder: WorkerProcess, world: int) -> None:
    hub.set_repo_state(world, "DELETED")
    task = offer_build(hub, world, "hz")
    assert hub.wait_task(task, 60)["state_name"] == "FAILED"
    assert fault_of(hub, task)[0] == koji.BuildrootError.faultCode
    assert hub.calls("host.newBuildRoot") == []


def test_a_package_of_another_hash_than_the_repos(hub: HubStandIn, builder: WorkerProcess, world: int) -> None:
    rpmlist = hub.repo_dir(world) / "x86_64" / "rpmlist.jsonl"
    rows = [json.loads(line) | {"payloadhash": "00" * 16} for line in rpmlist.read_text().splitlines()]
    rpmlist.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = offer_build(hub, world, "hz")
    assert hub.wait_task(task, 120)["state_name"] == "FAILED"
    code, text = fault_of(hub, task)
    assert (code, text.startswith("hash mismatch for rpm ")) == (koji.BuildrootError.faultCode, True)
    # What was said until then is there, to its end.
    assert "podman run" in (hub.task_dir(task) / "adjutant_plan.log").read_text()
    assert "buildroot: " in (hub.task_dir(task) / "root.log").read_text()
    wait_for(lambda: not builder.workspaces())
    assert builder.containers() == []


@pytest.mark.any_hub
def test_a_source_package_that_is_not_there(hub: AnyHub, builder: WorkerProcess, world: int) -> None:
    task = hub.make_task(
        "buildArch",
        ["cli-build/x/x-1-1.src.rpm", tag_of(hub, world), "x86_64", True, {"repo_id": world}],
        arch="x86_64",
    )
    assert hub.wait_task(task, 120)["state_name"] == "FAILED"
    assert fault_of(hub, task) == (1005, "No such file on the hub: work/cli-build/x/x-1-1.src.rpm")


@pytest.fixture
def small_repo(hub: AnyHub) -> int:
    """Id of a repo in state INIT of a tag with a few packages; asked for before a worker runs."""
    if hub.live:
        return hub.new_repo()
    hub.add_tag("dist-small", "x86_64", groups={"build": ["bash"]})
    return initial_repo(hub)


@pytest.mark.any_hub
def test_createrepo(hub: AnyHub, small_repo: int, builder: WorkerProcess) -> None:
    task = hub.make_task("createrepo", [small_repo, "x86_64", None], arch="noarch")
    assert hub.wait_task(task, 120)["state_name"] == "CLOSED", _words(hub, task, builder)
    directory, names = hub.result(task)
    assert directory == koji.pathinfo.taskrelpath(task)
    assert "repomd.xml" in names
    assert [name for name in names if "primary.sqlite" in name]
    first = (hub.task_dir(task) / "createrepo.log").read_text().splitlines()[0]
    assert re.match(r"\$ (createrepo_c --error-exit-val -vd -o|mergerepo_c) ", first), first
    assert {path.name for path in hub.task_dir(task).iterdir()} >= {*names, "createrepo.log"}
    primary = next(name for name in names if "primary.xml" in name)
    assert b"<package " in gzip.decompress((hub.task_dir(task) / primary).read_bytes())
    assert builder.terminate() == 0
    builder.assert_nothing_left()
    # What newRepo does with it; the hub checks and moves the files.
    session = hub.session(hub.builder)
    session.exclusiveSession()
    session.host.repoDone(small_repo, {"x86_64": [directory, names]})
    session.logout()
    assert hub.session().repoInfo(small_repo)["state"] == koji.REPO_READY
    repodata = hub.repo_dir(small_repo) / "x86_64" / "repodata"
    assert {path.name for path in repodata.iterdir()} == set(names)


def initial_repo(hub: HubStandIn) -> int:
    """A new repo of a tag with one built package."""
    packages = sorted(standin.world_repo().rglob("*.noarch.rpm"))[:3]
    hub.add_builds(packages, "dist-small")
    return hub.add_repo("dist-small", state="INIT")


def offer_repo(hub: HubStandIn) -> int:
    """A task to index that."""
    return hub.make_task("createrepo", [initial_repo(hub), "x86_64", None], arch="noarch")


def _words(hub: AnyHub, task: int, worker: WorkerProcess) -> str:
    try:
        hub.result(task)
    except (Fault, koji.GenericError) as fault:
        words = str(fault)
    else:
        words = ""
    logs = [
        f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}"
        for path in sorted(hub.task_dir(task).glob("*.log"))
    ]
    return "\n".join([words, *logs, worker.log.read_text()[-3000:]])


def engine(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """An `engine` command line."""
    command = [sys.executable, "-m", "engine.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.mark.any_hub
def test_a_task_is_shown_and_run_elsewhere(
    hub: AnyHub, make_worker: StartWorker, task_image: str, world: int, tmp_path: Path
) -> None:
    """`render --task` and `run --task` read the hub without logging in, and change nothing there."""
    task = offer_build(hub, world, "hello-noarch")
    somewhere = make_worker(image=task_image, recipes=RECIPES)
    del somewhere.settings["hub"]["user"], somewhere.settings["hub"]["password"]
    somewhere.config.write_text(tomli_w.dumps(somewhere.settings))
    place = ["--task", str(task), "--hub", hub.url, "--config", somewhere.config, "--recipes", RECIPES]
    text = engine("render", *place).stdout
    assert f"task {task}, buildArch.toml" in text
    assert f"work/cli-build/hello-noarch/{standin.srpm('hello-noarch').name}" in text
    assert hub.live or "%dist .t1" in text
    before = hub.task(task)["state_name"]
    out = tmp_path / "out"
    # Containers cannot reach the stand-in's address, 127.0.0.1.
    here = ["--repo", standin.world_repo(), "--workdir", tmp_path / "runs", "--image", task_image]
    done = engine("run", *place, *here, "--results", out)
    assert "buildArch: done" in done.stdout
    (made,) = [path.name for path in out.glob("*.noarch.rpm")]
    assert made.startswith("hello-noarch-1.0-1.") if hub.live else made == "hello-noarch-1.0-1.t1.noarch.rpm"
    assert hub.task(task)["state_name"] == before
    assert not hub.calls("login")
    wrong = engine("run", "--task", "99999999", "--hub", hub.url, "--results", tmp_path / "none", check=False)
    assert (wrong.returncode, wrong.stderr) == (3, f"{hub.url}: task 99999999: there is no such task\n")


@pytest.mark.any_hub
def test_kill_9_while_the_root_is_made(hub: AnyHub, builder: WorkerProcess, world: int) -> None:
    task = offer_build(hub, world, "hz")
    wait_for(lambda: builder.containers() and hub.calls("host.newBuildRoot"), 60)
    assert not (hub.task_dir(task) / "build.log").exists()
    builder.kill()
    wait_for(lambda: not builder.processes())
    builder.start("--force-lock")
    assert hub.wait_task(task, 200)["state_name"] == "CLOSED", _words(hub, task, builder)
    states = {row["id"]: row["state"] for row in hub.session().listBuildroots(taskID=task)}
    assert len(states) == 2
    assert set(states.values()) == {koji.BR_STATES["EXPIRED"]}
    assert builder.terminate() == 0
    builder.assert_nothing_left()


@pytest.mark.any_hub
def test_cancel_while_the_root_is_made_and_while_building(hub: AnyHub, builder: WorkerProcess, world: int) -> None:
    task = offer_build(hub, world, "hz")
    wait_for(lambda: builder.containers() and hub.calls("host.newBuildRoot"), 60)
    hub.cancel(task)
    wait_for(lambda: not builder.containers() and not builder.workspaces())
    long = offer_build(hub, world, "sleeper")
    wait_for((hub.task_dir(long) / "build.log").exists, 120, _words(hub, long, builder))
    hub.cancel(long)
    wait_for(lambda: not builder.containers() and not builder.workspaces())
    rows = [row for number in (task, long) for row in hub.session().listBuildroots(taskID=number)]
    wait_for(lambda: all(hub.session().getBuildroot(row["id"])["state"] == 3 for row in rows))
    assert {hub.task(number)["state_name"] for number in (task, long)} == {"CANCELED"}
    assert builder.terminate() == 0
    builder.assert_nothing_left()
