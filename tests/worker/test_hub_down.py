"""The hub is down for a whole minute, in each phase of a task: each on a hub of its own, all at the same time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hub import HubStandIn
from tests.worker.test_trouble import LOG, ends_of
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = pytest.mark.podman

MINUTE = 60.0
SLOW = 5.0
"""Seconds that each answer takes from the call on that a phase is known by, so that it is not missed."""
PHASES = {
    "before open": "getTaskInfo",
    "after open": "host.openTask",
    "step running": "",
    "during upload": "rawUpload",
    "before close": "checkUpload",
}
"""Where the task stands, and that call."""


def reached(hub: HubStandIn, phase: str, task: int) -> Callable[[], object]:
    """What is true once the task is in that phase, and for `SLOW` seconds at least."""

    def sent(method: str) -> list[object]:
        return [call for call in hub.calls(method) if call.args[1] == "said.txt"]

    return {
        "before open": lambda: hub.calls("getTaskInfo"),
        "after open": lambda: hub.calls("host.openTask"),
        "step running": (hub.task_dir(task) / LOG).exists,
        "during upload": lambda: sent("rawUpload"),
        "before close": lambda: sent("checkUpload"),
    }[phase]


def a_minute_without_hub(phase: str, folder: Path, image: str, recipes: Path) -> str:
    """One hub, one worker, one task; where the task stood as the hub went. AssertionError with the worker's log."""
    folder.mkdir()
    user = phase.replace(" ", "-")
    with HubStandIn(folder / "koji") as hub:
        hub.add_host(user, arches="x86_64", capacity=4)
        worker = WorkerProcess(hub, folder / "worker", image, user=user, recipes=recipes)
        try:
            worker.start()
            if PHASES[phase]:
                hub.slow_answers(SLOW, since=PHASES[phase])
            task = hub.make_task("toy", [phase, 10 if phase == "step running" else 1])
            wait_for(reached(hub, phase, task), 60, phase)
            with hub.network_outage():
                stood = hub.task(task)["state_name"]
                hub.slow_answers(0)
                time.sleep(MINUTE)
                assert hub.task(task)["state_name"] == stood  # nobody could have told the hub anything else
                os.kill(worker.pid, 0)
            ended = hub.wait_task(task, 120)["state_name"]
            assert (ended, hub.result(task)["text"]) == ("CLOSED", phase)
            assert (hub.task_dir(task) / LOG).read_text() == f"said {phase}\n"
            assert (hub.task_dir(task) / "said.txt").read_text() == phase
            # Where the answer to openTask got lost the task is freed and taken again; it had not run.
            freed = ["host.freeTasks"] if phase == "after open" else []
            assert ends_of(hub, task) == [*freed, "host.closeTask"]
            opened = [call for call in hub.calls("host.openTask") if call.args[0] == task and call.result is not None]
            assert len(opened) == 1 + len(freed)
            after = hub.make_task("toy", ["after"])
            assert hub.wait_task(after, 60)["state_name"] == "CLOSED"
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0
            worker.assert_nothing_left()
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"{phase}: {error}\n{worker.log.read_text()[-6000:]}") from error
        finally:
            worker.close()
    return str(stood)


def test_the_hub_is_down_for_a_minute_in_each_phase(toy_image: str, toy_recipes: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(len(PHASES)) as pool:
        runs = [pool.submit(a_minute_without_hub, phase, tmp_path / phase, toy_image, toy_recipes) for phase in PHASES]
        stood = dict(zip(PHASES, [run.result() for run in runs], strict=True))
    assert stood == {"before open": "ASSIGNED"} | {phase: "OPEN" for phase in list(PHASES)[1:]}
