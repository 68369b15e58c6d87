"""Koji's own TaskManager works against the stand-in as against a hub."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import koji
import pytest

from tests.worker.workshop import wait_for

from . import HubStandIn

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def builder(hub: HubStandIn, name: str, workdir: Path) -> Iterator[subprocess.Popen[bytes]]:
    workdir.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.hub.upstream_builder", hub.url, name, str(workdir)]
    with (workdir / "builder.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandIn]:
    with HubStandIn(tmp_path / "koji") as running:
        running.add_host("builder1", capacity=4)
        yield running


def wait_until_listed(hub: HubStandIn, task: int) -> None:
    """Until the builder knows the task as its own; before, TaskManager does not free it when it ends.

    The second listing is asked for when the first one has been taken in.
    """
    deadline = time.monotonic() + 40
    while sum(row["id"] == task for call in hub.calls("host.getHostTasks") for row in call.result) < 2:
        assert time.monotonic() < deadline, "the builder never saw its task"
        time.sleep(0.02)


def processes_of(builder: subprocess.Popen[bytes]) -> list[int]:
    """Its tasks' processes, once there are some: a task is OPEN a moment before it has one."""
    listed = Path(f"/proc/{builder.pid}/task/{builder.pid}/children")
    return [int(pid) for pid in wait_for(lambda: listed.read_text().split())]


def test_sleep_goes_through_all_states(hub: HubStandIn, tmp_path: Path) -> None:
    task = hub.make_task("sleep", [0.3])
    assert hub.task(task)["state_name"] == "FREE"
    with builder(hub, "builder1", tmp_path / "work"):
        opened = hub.wait_task(task, 40, {"OPEN", "CLOSED"})  # it is OPEN for a moment only; the calls show that
        assert opened["host_id"] == hub.host("builder1").id
        closed = hub.wait_task(task, 40)
        assert (closed["state_name"], closed["weight"]) == ("CLOSED", 0.25)
    assert hub.result(task) is None
    offers = [row for call in hub.calls("host.getTasks", "builder1") for row in call.result]
    assert [(row["id"], row["state"]) for row in offers] == [(task, koji.TASK_STATES["ASSIGNED"])]
    order = [call.method for call in hub.call_log if call.method in {"host.openTask", "subsession", "host.closeTask"}]
    assert order == ["host.openTask", "subsession", "host.closeTask"]
    assert [call.who for call in hub.calls("host.closeTask")] == ["builder1/sub"]
    assert hub.call_log[-1].method == "logout"
    assert not hub.host("builder1").ready


def test_fork_waittest_failure_and_unknown_method(hub: HubStandIn, tmp_path: Path) -> None:
    fork = hub.make_task("fork", [1, 0])
    wait = hub.make_task("waittest", [2, 0])
    bad = hub.make_task("sleep", ["BAD"])
    unknown = hub.make_task("noSuchMethod")
    with builder(hub, "builder1", tmp_path / "work"):
        assert hub.wait_task(fork, 40)["state_name"] == "CLOSED"
        assert hub.wait_task(bad, 40)["state_name"] == "FAILED"
        assert hub.wait_task(wait, 40)["state_name"] == "CLOSED"
        refusal = hub.calls("host.refuseTask", "builder1")[0]
        assert (refusal.args, refusal.kwargs["soft"]) == ((unknown,), False)
        assert hub.task(unknown)["state_name"] == "FREE"
    with pytest.raises(koji.xmlrpcplus.Fault, match="TypeError"):
        hub.result(bad)
    children = {child["label"]: child["state_name"] for child in hub.tasks(parent=wait)}
    assert children == {
        "0": "CLOSED",
        "1": "CLOSED",
        "bad": "FAILED",
    }


def test_cancel_is_seen_and_the_process_ends(hub: HubStandIn, tmp_path: Path) -> None:
    task = hub.make_task("sleep", [300])
    with builder(hub, "builder1", tmp_path / "work"):
        hub.wait_task(task, 40, {"OPEN"})
        assert hub.cancel(task)
        after = hub.make_task("sleep", [0])
        assert hub.wait_task(after, 40)["state_name"] == "CLOSED"
        assert hub.task(task)["state_name"] == "CANCELED"
    assert all(task not in call.args[0] for call in hub.calls("host.freeTasks"))


def test_sigterm_frees_the_task(hub: HubStandIn, tmp_path: Path) -> None:
    task = hub.make_task("sleep", [300])
    with builder(hub, "builder1", tmp_path / "work") as first:
        wait_until_listed(hub, task)
        first.send_signal(signal.SIGTERM)
        first.wait(40)
    assert hub.wait_task(task, 40, {"FREE"})["host_id"] is None
    assert hub.call_log[-1].method == "logout"


def test_kill_leaves_an_open_task_that_the_next_start_frees(hub: HubStandIn, tmp_path: Path) -> None:
    task = hub.make_task("sleep", [6])
    with builder(hub, "builder1", tmp_path / "work") as first:
        hub.wait_task(task, 40, {"OPEN"})
        children = processes_of(first)
        first.kill()
        for child in children:  # the task's process outlives it, and would close the task where the next start is slow
            os.kill(child, signal.SIGKILL)
        first.wait()
    assert hub.task(task)["state_name"] == "OPEN"
    with builder(hub, "builder1", tmp_path / "again"):
        assert hub.wait_task(task, 40)["state_name"] == "CLOSED"
    assert [task] in [call.args[0] for call in hub.calls("host.freeTasks")]


def test_hub_restart_and_outage_lose_nothing(hub: HubStandIn, tmp_path: Path) -> None:
    task = hub.make_task("sleep", [5])
    with builder(hub, "builder1", tmp_path / "work") as first:
        hub.wait_task(task, 40, {"OPEN"})
        processes_of(first)  # else the answer to openTask may be lost, and the task is freed and opened again
        hub.restart()
        assert hub.wait_task(task, 40)["state_name"] == "CLOSED"
    assert len(hub.calls("host.openTask")) == 1
