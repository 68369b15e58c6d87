"""Sentences of docs/facts/worker-contract.md that no other test holds: readiness, koji's own task types, a bad pass."""

from __future__ import annotations

import signal
from pathlib import Path

import koji
import pytest
from koji.xmlrpcplus import Fault

from tests.hub import HubStandIn
from tests.worker.conftest import StartWorker
from tests.worker.test_control import shown
from tests.worker.test_trouble import running
from tests.worker.workshop import WorkerProcess, fault_of, wait_for

pytestmark = pytest.mark.podman


def test_reasons_not_to_be_ready(hub: HubStandIn, make_worker: StartWorker) -> None:
    """2.3: a check-in all the same, and no task is asked for (trap 24)."""
    worker = make_worker(maxjobs=1).start()
    host = hub.host("builder1")
    task = hub.make_task("toy", ["x", 600])
    running(worker, hub, task)

    def says(words: str) -> None:
        wait_for(lambda: str(shown(worker)["reason"]).startswith(words))
        hub.forget_calls()
        wait_for(lambda: len(hub.calls("host.updateHost")) > 1)
        assert {call.args[1] for call in hub.calls("host.updateHost")} == {False}
        assert not hub.calls("host.getTasks")

    says("Full queue")
    host.capacity = 0.4
    says("Over capacity")
    host.enabled = False
    says("Host is disabled")
    host.enabled, host.capacity = True, 4
    hub.cancel(task)
    wait_for(lambda: shown(worker)["ready"] is True)
    assert hub.wait_task(hub.make_task("toy", ["y"]))["state_name"] == "CLOSED"


def test_a_load_average_above_the_limit(hub: HubStandIn, make_worker: StartWorker) -> None:
    worker = make_worker()
    worker.settings["worker"]["max_load"] = 1e-9
    worker.start()
    wait_for(lambda: str(shown(worker)["reason"]).startswith("Load average "))
    assert hub.calls("host.updateHost")[-1].args[1] is False


def test_a_pass_that_fails_is_followed_by_another(hub: HubStandIn, worker: WorkerProcess) -> None:
    """1.4: anything but a lost session is logged, and the loop goes on."""
    for method in ("listBuildroots", "host.getHostTasks", "host.getHost", "host.updateHost", "host.getTasks"):
        hub.answer_instead(method, Fault(1, f"<class 'psycopg2.OperationalError'>: {method}"))
    hub.answer_instead("host.getTasks", None)
    hub.answer_instead("host.openTask", Fault(1, "deadlock detected"))
    task = hub.make_task("toy", ["x"])
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert worker.log.read_text().count("a turn of the loop failed") == 7


def test_a_renewal_that_is_refused_ends_the_worker(hub: HubStandIn, worker: WorkerProcess) -> None:
    """1.4: AuthExpired, and the credentials are accepted no more."""
    hub.answer_instead("login", Fault(koji.AuthError.faultCode, "invalid username or password"))
    hub.expire_session("builder1")
    assert worker.wait() == 4
    assert "the hub does not accept this session any more: invalid username" in worker.log.read_text()
    worker.assert_nothing_left()


def test_a_task_with_children(hub: HubStandIn, worker: WorkerProcess) -> None:
    """2.6: the parent waits, its weight does not count, SIGUSR2 wakes it; a child that may fail does."""
    task = hub.make_task("waittest", [3, 8])
    wait_for(lambda: hub.task(task)["waiting"])  # from then on it does not count; the bad child has soon ended
    wait_for(lambda: [call for call in hub.calls("host.updateHost") if call.args[0] == 0.75])
    assert hub.wait_task(task, 60)["state_name"] == "CLOSED", worker.log.read_text()
    states = sorted(child["state_name"] for child in hub.tasks(parent=task))
    assert states == ["CLOSED", "CLOSED", "CLOSED", "FAILED"]
    assert hub.calls("host.taskSetWait", who="builder1/sub")
    assert hub.calls("host.taskWaitResults", who="builder1/sub")


def test_a_child_that_fails_ends_its_parent(hub: HubStandIn, worker: WorkerProcess) -> None:
    """2.6: with the child's fault."""
    failing = hub.make_task("dependantTask", [[], [["toy", ["bad", 0, 7], {}]]])
    assert hub.wait_task(failing, 60)["state_name"] == "FAILED", worker.log.read_text()
    assert fault_of(hub, failing)[0] == koji.BuildError.faultCode


def test_a_parent_that_waits_is_cancelled(hub: HubStandIn, worker: WorkerProcess) -> None:
    task = hub.make_task("waittest", [2, 600])
    wait_for(lambda: len(hub.tasks(parent=task, state_name="OPEN")) == 2)
    hub.cancel(task)
    wait_for(lambda: worker.processes() == [worker.pid])
    assert {child["state_name"] for child in hub.tasks(parent=task)} <= {"CANCELED", "FAILED"}
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_all_hosts_are_restarted(hub: HubStandIn, worker: WorkerProcess) -> None:
    """2.8: `koji restart-hosts`; the task itself runs on a host that is restarted."""
    task = hub.make_task("restartHosts", [{}])
    assert hub.wait_task(task, 60)["state_name"] == "CLOSED", worker.log.read_text()
    assert sum("READY=1" in text for text in worker.listen()) == 2
    methods = {child["method"]: child["state_name"] for child in hub.tasks(parent=task)}
    assert methods == {"restart": "CLOSED", "restartVerify": "CLOSED"}


def test_a_shutdown_task(hub: HubStandIn, worker: WorkerProcess) -> None:
    """2.8, trap 32: the daemon ends, and the task that said so is free again."""
    task = hub.make_task("shutdown", [])
    assert worker.wait() == 0
    assert hub.task(task)["state_name"] == "FREE"
    worker.assert_nothing_left()


def test_kill_of_a_waiting_parent_frees_it(hub: HubStandIn, worker: WorkerProcess) -> None:
    task = hub.make_task("waittest", [1, 600])
    wait_for(lambda: hub.tasks(parent=task, state_name="OPEN"))
    worker.kill()
    hub.add_host("builder2", arches="x86_64")
    worker.start("--force-lock")
    freed = [number for call in wait_for(lambda: hub.calls("host.freeTasks")) for number in call.args[0]]
    assert task in freed
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


@pytest.mark.parametrize(
    ("seconds", "weights"),
    [(None, [1.5]), (-1.0, [1.5]), (4800.0, [1.5, 2.5]), (480_000.0, [1.5, 19.5])],
    ids=["unknown", "negative", "80 minutes", "days"],
)
def test_a_package_that_took_long_is_heavy(
    hub: HubStandIn, make_worker: StartWorker, tmp_path: Path, seconds: float | None, weights: list[float]
) -> None:
    """4.2 step 3, trap 51."""
    make_worker(recipes=Path(__file__).parents[2] / "recipes").start()
    hub.add_tag("f45-build", "x86_64")
    repo = hub.add_repo("f45-build", tmp_path / "recipes")
    hub.answer_instead("getAverageBuildDuration", seconds)
    request = ["cli-build/1/x-1-1.src.rpm", "f45-build", "x86_64", True, {"repo_id": repo}]
    task = hub.make_task("buildArch", request, arch="x86_64")
    assert hub.wait_task(task)["state_name"] == "FAILED"  # the package is not there; that is seen later
    assert [call.args for call in hub.calls("host.setTaskWeight")] == [(task, weight) for weight in weights]
