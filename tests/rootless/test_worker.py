"""`engine worker` as an unprivileged user: a task's life, cancel, kill -9 and restart, SIGTERM."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.this_host import pids_controlled
from engine.core.facts import Limit
from tests.hub import HubStandIn, Settings
from tests.rootless.person import Person
from tests.rootless.workers import PersonsWorker
from tests.worker.workshop import wait_for

pytestmark = pytest.mark.podman

SLEEP = "touch started; sleep 600 & wait $!"


@pytest.fixture(scope="module")
def hub(plain: Person) -> Iterator[HubStandIn]:
    with HubStandIn(plain.home.parent / "koji", settings=Settings(soft_refusal_timeout=3.0)) as standin:
        standin.add_host("builder1", arches="x86_64", capacity=4)
        yield standin


@pytest.fixture
def worker(plain: Person, hub: HubStandIn, tiny_image: str) -> Iterator[PersonsWorker]:
    folder = plain.home.parent / f"worker-{time.monotonic_ns()}"
    made = PersonsWorker(plain, hub, folder, tiny_image)
    try:
        yield made.start("--force-lock")
    finally:
        made.close()


def running(worker: PersonsWorker, task: int) -> None:
    started = worker.workdir / str(task) / "result/started"
    wait_for(started.exists, 90, f"the step did not start:\n{worker.log.read_text()[-3000:]}")


def test_a_task_is_taken_run_and_closed(hub: HubStandIn, worker: PersonsWorker) -> None:
    assert worker.person.uid != 0
    assert Path(f"/proc/{worker.pid}").stat().st_uid == worker.person.uid
    task = hub.make_task("hut", ["echo by koji > koji.txt; busybox grep processes /proc/self/limits"])
    assert hub.wait_task(task, 60)["state_name"] == "CLOSED", (hub.task_dir(task) / "root.log").read_text()
    assert hub.result(task) == {"files": [f"tasks/{task}/{task}/koji.txt", f"tasks/{task}/{task}/root.txt"]}
    files = hub.task_dir(task)
    assert (files / "root.txt").read_text() == "by root\n"
    assert (files / "koji.txt").read_text() == "by koji\n"
    assert (files / "root.log").read_text() == "0\n"
    user, limit = (files / "build.log").read_text().splitlines()
    assert user == "1000"
    if not pids_controlled(worker.person.uid):
        soft, hard = map(int, limit.split()[2:4])
        assert soft == hard <= Limit().pids  # what holds a fork bomb where no cgroup does
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_cancel_while_a_step_runs(hub: HubStandIn, worker: PersonsWorker) -> None:
    task = hub.make_task("hut", [SLEEP])
    running(worker, task)
    assert len(worker.foreign_owners(task)) == 2  # uid 1000 and uid 42 of the containers
    hub.cancel(task)
    wait_for(lambda: not worker.workspaces(), 60, worker.log.read_text())
    assert hub.task(task)["state_name"] == "CANCELED"
    assert worker.containers() == []
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_kill_9_and_restart(hub: HubStandIn, worker: PersonsWorker) -> None:
    task = hub.make_task("hut", [SLEEP])
    running(worker, task)
    assert len(worker.foreign_owners(task)) == 2
    worker.kill()
    wait_for(lambda: not worker.processes())
    assert worker.containers() != []
    assert worker.workspaces() == [str(task)]
    hub.cancel(task)
    worker.start("--force-lock")
    assert worker.containers() == []
    assert worker.workspaces() == []
    again = hub.make_task("hut", ["echo x > x.txt"])
    assert hub.wait_task(again, 60)["state_name"] == "CLOSED", worker.log.read_text()
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_sigterm_frees_the_task_and_leaves_nothing(hub: HubStandIn, worker: PersonsWorker) -> None:
    task = hub.make_task("hut", [SLEEP])
    running(worker, task)
    assert worker.terminate() == 0
    assert hub.task(task)["state_name"] == "FREE"
    worker.assert_nothing_left()
    hub.cancel(task)
