"""The same things asked of kojid and of this worker, each on a hub of its own: the calls a hub sees are the same.

With `KOJI_ADJUTANT_KOJID` the other one is kojid itself, else Koji's own parts (tests/worker/kojid.py).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import pytest

from tests.hub import HubStandIn
from tests.worker.conftest import StartWorker
from tests.worker.kojid import OtherBuilder
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = pytest.mark.podman

TURN = ["listBuildroots", "host.getHostTasks", "host.getHost", "host.updateHost", "host.getTasks"]
Calls = list[tuple[Any, ...]]


def calls(hub: HubStandIn, *, turns: bool = False) -> Calls:
    """What the hub was asked, once each of calls in a row; without those that every turn of the loop makes."""
    seen: Calls = []
    for call in list(hub.call_log):
        args, kwargs = call.args, call.kwargs
        good_bye = call.method == "host.updateHost" and not args
        if call.method in TURN and not turns and not good_bye:
            continue
        if call.method == "getTaskInfo" and not kwargs:  # ours, by a turn that finds a closed task's process ending
            continue
        if call.method == "host.failTask":  # the traceback is of each one's files
            args = args[:1]
        elif call.method == "host.updateHost" and not good_bye:  # the methods are each one's own
            kwargs = {key: value if key == "maxjobs" else ... for key, value in kwargs["data"].items()}
        row = (call.who, call.method, args, kwargs, call.fault_code)
        if row not in seen[-1:]:
            seen.append(row)
    return seen


def story(hub: HubStandIn, start: Callable[[], object], terminate: Callable[[], int]) -> dict[str, Any]:
    """What the hub saw of each thing that was asked of one builder."""
    seen: dict[str, Any] = {}

    def listed(task: int) -> None:
        """Until the builder knows the task as its own: the second list is asked for with the first one taken in."""
        wait_for(lambda: sum(row["id"] == task for call in hub.calls("host.getHostTasks") for row in call.result) > 1)

    def task_seen(name: str, method: str, *arguments: Any) -> None:
        hub.forget_calls()
        task = hub.make_task(method, list(arguments))
        state = hub.wait_task(task)["state_name"]
        wait_for(lambda: hub.calls("logoutChild"))
        seen[name] = (state, calls(hub))
        try:
            seen[f"result of {name}"] = hub.result(task)
        except Fault as fault:
            seen[f"result of {name}"] = (fault.faultCode, fault.faultString.splitlines()[-1])

    start()
    wait_for(lambda: len(hub.calls("host.getTasks")) > 1)
    # The last turn may not be over.
    seen["start and two turns"] = calls(hub, turns=True)[: 5 + 2 * len(TURN)]
    task_seen("close", "sleep", 0)
    task_seen("fail", "sleep", "bad")
    hub.forget_calls()
    task = hub.make_task("someMethod", [])  # of those that the daemon itself runs
    seen["in the daemon"] = (hub.wait_task(task)["state_name"], hub.result(task), calls(hub))
    hub.forget_calls()
    task = hub.make_task("waittest", [1, 0])  # makes tasks and waits for them; one of them fails
    wait_for(lambda: hub.task(task)["state_name"] == "CLOSED", 60)
    seen["with children"] = {child["label"]: child["state_name"] for child in hub.tasks(parent=task)}
    wait_for(lambda: len(hub.calls("logoutChild")) == 1 + len(seen["with children"]))
    hub.forget_calls()
    hub.make_task("noSuchMethod", [1])
    wait_for(lambda: hub.calls("host.refuseTask") and hub.calls("host.getTasks"))
    seen["refuse"] = calls(hub)
    task = hub.make_task("sleep", [300])
    listed(task)
    hub.forget_calls()
    hub.cancel(task)
    wait_for(lambda: hub.calls("logoutChild"))
    seen["cancel"] = (hub.task(task)["state_name"], calls(hub))
    task = hub.make_task("sleep", [300])
    listed(task)
    hub.forget_calls()
    assert terminate() == 0
    seen["stop"] = (hub.task(task)["state_name"], calls(hub))
    return seen


def test_a_hub_sees_the_same_calls(hub: HubStandIn, make_worker: StartWorker, tmp_path: Path) -> None:
    ours: WorkerProcess = make_worker()
    with HubStandIn(tmp_path / "other-koji", settings=hub.settings) as other_hub, ThreadPoolExecutor(2) as both:
        other_hub.add_host("builder1", arches="x86_64", capacity=4)
        other = OtherBuilder(other_hub, tmp_path / "other", user="builder1")
        try:
            here = both.submit(story, hub, lambda: ours.start("--force-lock"), ours.terminate)
            there = both.submit(story, other_hub, other.start, other.terminate)
            theirs, mine = there.result(), here.result()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{other.log.read_text()}") from error
        finally:
            other.close()
    assert [row[1] for row in theirs["start and two turns"]][5:] == 2 * TURN
    for name, expected in theirs.items():
        assert mine[name] == expected, name
    ours.assert_nothing_left()
