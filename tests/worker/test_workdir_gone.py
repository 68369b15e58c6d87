"""The work directory is cleaned away under a running worker: it goes on, and its tasks too."""

from __future__ import annotations

import shutil

import pytest

from tests.hub import HubStandIn
from tests.worker.test_control import shown
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = pytest.mark.podman


@pytest.mark.parametrize("what", [".", "worker/tasks"])
def test_tasks_run_though_the_work_directory_was_removed(hub: HubStandIn, worker: WorkerProcess, what: str) -> None:
    # The worker writes there all the while: taken away at one stroke, then removed.
    shutil.rmtree((worker.workdir / what).rename(worker.workdir.with_name("cleaned-away")))
    task = hub.make_task("toy", ["still here"])
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    wait_for(lambda: shown(worker)["ready"] is True, words="engine status does not see it")
    assert worker.terminate() == 0
    worker.assert_nothing_left()
