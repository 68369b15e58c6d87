"""The worker on a live hub: `pytest -m hub --hub-config FILE tests/worker/test_live.py`.

FILE is TOML: ``url``, ``topurl`` and ``topdir`` of the hub; ``builder`` and ``builder_password``, a host of it that no
other daemon works as; ``user`` and ``password`` of somebody who may make tasks for a host (an admin). With ``srpm`` (a
path) and ``tag``, or ``target`` whose build tag is meant, the source package is built in the tag's current repo. Every
task made here ends.
"""

from __future__ import annotations

import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import koji
import pytest

from tests.podmanhost import task_image
from tests.worker.workshop import WorkerProcess, wait_for

__all__ = ["task_image"]
pytestmark = [pytest.mark.hub, pytest.mark.podman]


@pytest.fixture
def live(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration, or skip."""
    path = request.config.getoption("--hub-config")
    if not path:
        pytest.skip("no live hub: give one with --hub-config FILE")
    config: dict[str, Any] = tomllib.loads(Path(path).read_text())
    return config


@pytest.fixture
def admin(live: dict[str, Any]) -> Iterator[koji.ClientSession]:
    """Somebody who makes tasks."""
    options = {"user": live["user"], "password": live["password"], "use_fast_upload": True}
    session = koji.ClientSession(live["url"], options)
    session.login()
    yield session
    session.logout()


def start(live: dict[str, Any], folder: Path, image: str, recipes: Path) -> WorkerProcess:
    """A worker on the live hub."""
    hub = types.SimpleNamespace(url=live["url"], topurl=live.get("topurl", ""), topdir=Path(live["topdir"]))
    worker = WorkerProcess(hub, folder / "live", image, user=live["builder"], recipes=recipes)  # type: ignore[arg-type]
    worker.settings["hub"]["password"] = live["builder_password"]
    return worker.start("--force-lock")


def make(admin: koji.ClientSession, live: dict[str, Any], method: str, *arguments: Any, **options: Any) -> int:
    """A task for this host and no other."""
    host = admin.getHost(live["builder"])["id"]
    task: int = admin.makeTask(method, list(arguments), assign=host, **options)
    return task


def ended(admin: koji.ClientSession, task: int, timeout: float = 60.0) -> str:
    """Name of the final state."""
    final = {koji.TASK_STATES[name] for name in ("CLOSED", "CANCELED", "FAILED")}
    wait_for(lambda: admin.getTaskInfo(task)["state"] in final, timeout)
    return str(koji.TASK_STATES[admin.getTaskInfo(task)["state"]])


@pytest.fixture
def toy_worker(live: dict[str, Any], tmp_path: Path, toy_image: str, toy_recipes: Path) -> Iterator[WorkerProcess]:
    """A worker that knows the toy task."""
    worker = start(live, tmp_path, toy_image, toy_recipes)
    yield worker
    worker.close()


def test_close_fail_and_cancel(admin: koji.ClientSession, live: dict[str, Any], toy_worker: WorkerProcess) -> None:
    good, bad = make(admin, live, "toy", "hello"), make(admin, live, "toy", "bad", 0, 7)
    assert ended(admin, good) == "CLOSED", toy_worker.log.read_text()
    assert admin.getTaskResult(good)["text"] == "hello"
    assert admin.downloadTaskOutput(good, "say.log") == b"said hello\n"
    assert ended(admin, bad) == "FAILED"
    with pytest.raises((koji.BuildError, Fault), match="toy failed: exit code 7"):
        admin.getTaskResult(bad)
    long = make(admin, live, "toy", "long", 600)
    wait_for(lambda: "say.log" in admin.listTaskOutput(long))
    admin.cancelTask(long)
    wait_for(lambda: not toy_worker.containers(), 20)
    assert ended(admin, long) == "CANCELED"
    assert toy_worker.terminate() == 0
    toy_worker.assert_nothing_left()


def test_kill_9_and_restart(admin: koji.ClientSession, live: dict[str, Any], toy_worker: WorkerProcess) -> None:
    task = make(admin, live, "toy", "again", 3)
    wait_for(lambda: "say.log" in admin.listTaskOutput(task))
    toy_worker.kill()
    wait_for(lambda: not toy_worker.processes(), 5)
    toy_worker.start("--force-lock")
    # Freed, it is anybody's: it is given to this host again, and its second run closes.
    wait_for(lambda: f"freeing stale tasks: [{task}]" in toy_worker.log.read_text(), 30)
    admin.assignTask(task, live["builder"])  # False if the scheduler was quicker
    assert ended(admin, task, 120) == "CLOSED", toy_worker.log.read_text()
    assert toy_worker.log.read_text().count(f"Attempting to take task {task}") == 2
    assert admin.getTaskResult(task)["text"] == "again"
    assert toy_worker.terminate() == 0
    toy_worker.assert_nothing_left()


@pytest.mark.filterwarnings("ignore:.*src.rpm:pytest.PytestUnraisableExceptionWarning")  # koji's upload leaves it open
def test_a_build(admin: koji.ClientSession, live: dict[str, Any], tmp_path: Path, task_image: str) -> None:
    if "srpm" not in live or not {"tag", "target"} & live.keys():
        pytest.skip("the configuration names no srpm, or neither tag nor target")
    tag = live.get("tag") or admin.getBuildTarget(live["target"], strict=True)["build_tag_name"]
    worker = start(live, tmp_path, task_image, Path(__file__).parents[2] / "recipes")
    try:
        srpm = Path(live["srpm"])
        admin.uploadWrapper(str(srpm), "cli-build/adjutant-test", srpm.name)
        repo = admin.getRepo(tag)["id"]
        arguments = [f"cli-build/adjutant-test/{srpm.name}", tag, "x86_64", True, {"repo_id": repo}]
        task = make(admin, live, "buildArch", *arguments, arch="x86_64")
        assert ended(admin, task, 900) == "CLOSED", worker.log.read_text()
        result = admin.getTaskResult(task)
        outputs = set(admin.listTaskOutput(task))
        assert {Path(path).name for path in [*result["rpms"], *result["srpms"], *result["logs"]]} <= outputs
        assert admin.getBuildroot(result["brootid"])["state"] == koji.BR_STATES["EXPIRED"]
        assert worker.terminate() == 0
        worker.assert_nothing_left()
    finally:
        worker.close()
