"""What goes wrong around a task: cancel, signals, kill -9, a hub that is away, a podman that is gone."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

import pytest

from engine.worker.session import capped
from engine.worker.state import StateDirectory
from tests.hub import HubStandIn
from tests.podmanhost import podman
from tests.worker.conftest import AnyHub, StartWorker
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = pytest.mark.podman


LOG = "say.log"


def running(worker: WorkerProcess, hub: AnyHub, task: int) -> None:
    """Wait until the task's container says something."""
    wait_for((hub.task_dir(task) / LOG).exists, 60, worker.log.read_text())


def ends_of(hub: AnyHub, task: int) -> list[str]:
    """The calls that ended this task, that the hub accepted."""
    ends = ("host.closeTask", "host.failTask", "host.refuseTask", "host.freeTasks")
    return [
        call.method
        for call in hub.call_log
        if call.method in ends and call.fault_code is None and task in (call.args[0], *_listed(call.args[0]))
    ]


def removed_at(container: str) -> float:
    """When podman removed it; seconds since the epoch. podman 4 says it as RFC 3339, podman 5 in nanoseconds."""
    text = podman("events", "--stream=false", "--since", "5m", "--format", "json", "--filter", f"container={container}")
    events = [{key.lower(): value for key, value in json.loads(line).items()} for line in text.splitlines()]
    event = next(event for event in reversed(events) if event["status"] == "remove")
    return event["timenano"] / 1e9 if "timenano" in event else datetime.fromisoformat(event["time"]).timestamp()


def _listed(value: object) -> list[int]:
    return value if isinstance(value, list) else []


@pytest.mark.any_hub
def test_cancel_while_a_step_runs(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker()
    worker.settings["adjutant_container_timeouts"] = {"stop_grace": 300}
    worker.start()
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    assert len(worker.containers()) == 1
    hub.cancel(task)
    wait_for(lambda: not worker.containers())  # this step ends at SIGTERM, not after the grace
    wait_for(lambda: not worker.workspaces())
    assert hub.task(task)["state_name"] == "CANCELED"
    assert ends_of(hub, task) == []
    again = hub.make_task("toy", ["next"])
    assert hub.wait_task(again)["state_name"] == "CLOSED"
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_cancel_of_a_step_that_ignores_sigterm(hub: AnyHub, make_worker: StartWorker, toy_recipes: Path) -> None:
    recipe = toy_recipes / "toy.toml"
    recipe.write_text(recipe.read_text().replace("echo asked to stop; exit 3", ""))
    worker = make_worker().start()
    task = hub.make_task("toy", ["stubborn", 600])
    running(worker, hub, task)
    (container,) = worker.containers()
    hub.cancel(task)
    wait_for(lambda: not worker.containers())
    wait_for(lambda: f"container {container} ignored SIGTERM for 2 s and was killed" in worker.log.read_text())
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_cancel_while_free_and_while_uploading(hub: AnyHub, worker: WorkerProcess) -> None:
    never = hub.make_task("toy", ["free"], arch="s390x")
    hub.cancel(never)
    task = hub.make_task("toy", ["uploading", 1])
    running(worker, hub, task)
    hub.slow_answers(2)  # so that it is cancelled before it is closed, also where this process gets its turn late
    wait_for(lambda: [call for call in hub.calls("rawUpload") if call.args[1] == "said.txt"])
    hub.cancel(task)
    hub.slow_answers(0)
    wait_for(lambda: not worker.workspaces())
    assert hub.task(task)["state_name"] == "CANCELED"
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_sigterm_frees_what_runs(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    assert worker.terminate() == 0  # within a minute; the step would have taken ten
    worker.assert_nothing_left()
    assert ends_of(hub, task) == ["host.freeTasks"]
    assert hub.task(task)["state_name"] in {"FREE", "ASSIGNED"}  # again offered, where another host asks the hub too
    last = [call.method for call in hub.call_log if call.who == hub.builder][-3:]
    assert last == ["host.freeTasks", "host.updateHost", "logout"]
    assert hub.calls("host.updateHost")[-1].kwargs == {"task_load": 0.0, "ready": False}


@pytest.mark.any_hub
def test_sigterm_gives_running_tasks_their_time(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker()
    worker.settings["worker"]["shutdown_timeout"] = 60
    worker.start()
    task = hub.make_task("toy", ["short", 600])
    running(worker, hub, task)
    worker.signal(signal.SIGTERM)
    wait_for(lambda: any("STOPPING=1" in text for text in worker.listen()))
    late = hub.make_task("toy", ["not any more"])
    worker.end_waiting()
    assert worker.wait() == 0
    assert hub.task(task)["state_name"] == "CLOSED"
    assert hub.task(late)["state_name"] in {"FREE", "ASSIGNED"}
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_a_second_sigterm_does_not_wait(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker()
    worker.settings["worker"]["shutdown_timeout"] = 600
    worker.start()
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    worker.signal(signal.SIGTERM)
    wait_for(lambda: any("STOPPING=1" in text for text in worker.listen()))
    assert worker.containers() != []
    assert worker.terminate() == 0
    assert hub.task(task)["state_name"] == "FREE"
    worker.assert_nothing_left()


@pytest.mark.any_hub
@pytest.mark.parametrize("phase", ["before open", "after open", "step running", "during upload", "before close"])
def test_kill_9_and_restart(hub: AnyHub, make_worker: StartWorker, phase: str) -> None:
    worker = make_worker().start()
    first = worker.pid
    if phase in {"before open", "after open"}:
        hub.slow_answers(4, since={"before open": "getTaskInfo", "after open": "host.openTask"}[phase])
    task = hub.make_task("toy", [phase, 2])
    seen = {
        "before open": lambda: hub.calls("getTaskInfo", who=hub.builder),
        "after open": lambda: hub.calls("host.openTask"),
        "step running": (hub.task_dir(task) / LOG).exists,
    }
    if phase in seen:
        wait_for(seen[phase])
    else:
        running(worker, hub, task)
        hub.slow_answers(4)
        name = {"during upload": "rawUpload", "before close": "checkUpload"}[phase]
        wait_for(lambda: [call for call in hub.calls(name) if call.args[1] == "said.txt"])
    worker.kill()
    # The kernel kills the task processes with the daemon: none can close a task opened anew.
    wait_for(lambda: not worker.processes())
    hub.slow_answers(0)
    hub.forget_calls()
    worker.start("--force-lock")
    assert worker.pid != first
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert hub.result(task)["text"] == phase
    assert ends_of(hub, task).count("host.closeTask") == 1
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_containers_of_a_killed_worker_are_gone_before_its_tasks_are_freed(
    hub: HubStandIn, make_worker: StartWorker
) -> None:
    worker = make_worker().start()
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    orphan = services_of(worker)[0]
    (container,) = worker.containers()
    worker.kill()
    assert len(worker.containers()) == 1
    assert len(worker.workspaces()) == 1
    hub.add_host("builder2", arches="x86_64")  # so that the freed task need not come back here
    worker.start("--force-lock")
    freed = wait_for(lambda: hub.calls("host.freeTasks"))[0]
    assert removed_at(container) < freed.time  # both by this host's clock
    wait_for(lambda: not Path(f"/proc/{orphan}/cmdline").exists() or not os.path.exists(f"/proc/{orphan}/exe"))
    removed = [line for line in worker.log.read_text().splitlines() if "left by a dead process" in line]
    assert freed.args == ([task],)
    assert len(removed) == 2  # the container and the directory, both in the log before the loop began


@pytest.mark.any_hub
def test_a_task_process_that_is_killed_counts_as_this_hosts_fault(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    os.kill(worker.task_process(task), signal.SIGKILL)
    freed = wait_for(lambda: hub.calls("host.freeTasks"))[0]
    assert freed.args == ([task],)
    assert "ended without clearing up" in worker.log.read_text()
    (failure,) = wait_for(lambda: StateDirectory(str(worker.workdir)).read().get("failures"))
    assert (failure["task"], failure["method"]) == (task, "toy")
    assert failure["text"] == "the task's process ended without a word"


@pytest.mark.any_hub
@pytest.mark.parametrize("phase", ["idle", "step running", "during upload", "before close"])
def test_the_hub_is_away_for_a_while(hub: AnyHub, worker: WorkerProcess, phase: str) -> None:
    seconds = 4.0
    if phase == "idle":
        with hub.network_outage():
            time.sleep(seconds)
    task = hub.make_task("toy", [phase, 2])
    if phase != "idle":
        running(worker, hub, task)
    if phase in {"during upload", "before close"}:
        hub.slow_answers(0.3)
        name = {"during upload": "rawUpload", "before close": "checkUpload"}[phase]
        wait_for(lambda: [call for call in hub.calls(name) if call.args[1] == "said.txt"])
    if phase != "idle":
        with hub.network_outage():
            time.sleep(seconds)
        hub.slow_answers(0)
    assert hub.wait_task(task, 60)["state_name"] == "CLOSED", worker.log.read_text()
    assert (hub.task_dir(task) / "say.log").read_text() == f"said {phase}\n"
    assert ends_of(hub, task) == ["host.closeTask"]
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_sigterm_while_the_hub_is_away(hub: HubStandIn, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    with hub.network_outage():
        time.sleep(3)
        assert worker.terminate() == 0
    worker.assert_nothing_left()
    hub.add_host("builder2", arches="x86_64")
    worker.start("--force-lock")
    wait_for(lambda: hub.calls("host.freeTasks"))


@pytest.mark.any_hub
def test_the_hub_says_it_is_offline(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["x", 2])
    running(worker, hub, task)
    hub.offline(True)
    time.sleep(3)
    hub.offline(False)
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()


@pytest.mark.any_hub
def test_check_ins_with_the_intervals_of_kojid(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker(retry_interval=60, max_retries=120, offline_retry_interval=120).start()
    wait_for(lambda: hub.calls("host.updateHost"))
    hub.offline(True)
    wait_for(lambda: "the hub does not answer" in worker.log.read_text())
    hub.offline(False)
    hub.forget_calls()
    wait_for(lambda: hub.calls("host.updateHost"), 45)  # the least of kojid's intervals is a minute
    wait_for(lambda: "the hub answers again" in worker.log.read_text())


def test_intervals_are_capped_and_an_outage_may_last_as_long() -> None:
    kojid = {"max_retries": 120, "retry_interval": 60, "offline_retry_interval": 120, "timeout": 43200, "sleeptime": 15}
    assert capped(kojid) == {
        "max_retries": 480, "retry_interval": 15, "offline_retry_interval": 15, "timeout": 300, "sleeptime": 15,
    }  # fmt: skip
    short = {"max_retries": 3, "retry_interval": 1, "offline_retry_interval": 2, "timeout": 4, "sleeptime": 5}
    assert capped(short) == short


def test_sessions_expire_while_a_task_runs(hub: HubStandIn, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["x", 3])
    running(worker, hub, task)
    hub.expire_session("builder1")
    hub.answer_instead("login", HTTPStatus.SERVICE_UNAVAILABLE, 4)  # it is away for a moment just then
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert len(hub.calls("host.openTask")) == 1
    again = hub.make_task("toy", ["y"])
    assert hub.wait_task(again)["state_name"] == "CLOSED", worker.log.read_text()
    assert [call for call in hub.calls("login") if call.kwargs.get("renew")]


@pytest.mark.any_hub
@pytest.mark.parametrize(
    "method",
    ["host.openTask", "host.setTaskWeight", "subsession", "rawUpload", "host.closeTask", "logout", "host.updateHost"],
)
def test_an_answer_is_lost(hub: AnyHub, worker: WorkerProcess, method: str) -> None:
    hub.lose_answers(method)
    task = hub.make_task("toy", ["x", 1])
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert (hub.task_dir(task) / "say.log").read_text() == "said x\n"
    assert ends_of(hub, task).count("host.closeTask") == 1
    wait_for(lambda: not worker.workspaces())
    assert "not a recipe" not in worker.log.read_text()
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_a_session_taken_over_ends_the_worker(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker().start()
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    other = make_worker().start(ready=False)
    assert other.wait() == 4
    assert "another worker (pid" in other.log.read_text()
    with suppress(Exception):
        hub.session(hub.builder).exclusiveSession(force=True)
    assert worker.wait(60) == 4
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_a_second_daemon_of_the_same_user_is_refused(hub: AnyHub, worker: WorkerProcess, tmp_path: Path) -> None:
    other = WorkerProcess(
        hub, tmp_path / "other", worker.settings["adjutant_task_image_default"], user=hub.builder,
        recipes=Path(worker.settings["worker"]["recipes"][0]),
    )  # fmt: skip
    other.settings["worker"]["id"] += "-other"
    try:
        other.start(ready=False)
        assert other.wait() == 4
        assert "another daemon works as this user" in other.log.read_text()
        assert "--force-lock" in other.log.read_text()
    finally:
        other.close()
    task = hub.make_task("toy", ["x"])
    assert hub.wait_task(task)["state_name"] == "CLOSED"


@pytest.mark.any_hub
def test_podman_is_killed_while_a_step_runs(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["through", 4])
    running(worker, hub, task)
    services = services_of(worker)
    assert services
    for pid in services:
        os.kill(pid, signal.SIGKILL)
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert (hub.task_dir(task) / "say.log").read_text() == "said through\n"
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def services_of(worker: WorkerProcess) -> list[int]:
    """The private podman services that the worker started."""
    found = []
    for pid in Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split():
        with suppress(OSError):  # other children come and go
            if b"\0system\0service\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


@pytest.mark.any_hub
def test_check_ins_go_on_while_podman_hangs(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    services = services_of(worker)
    assert services
    for pid in services:
        os.kill(pid, signal.SIGSTOP)
    try:
        hub.cancel(task)
        hub.forget_calls()
        wait_for(lambda: len(hub.calls("host.updateHost")) > 7)  # podman says nothing all that time
        assert worker.workspaces() != []  # not podman's word: it waits where a stopped service holds a lock
    finally:
        for pid in services:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not worker.containers())
    assert worker.terminate() == 0
    worker.assert_nothing_left()
