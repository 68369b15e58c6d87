"""A task that somebody frees on the hub while its process lives here: stopped, and taken again only afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.worker.conftest import AnyHub, StartWorker
from tests.worker.test_trouble import ends_of, running
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = [pytest.mark.podman, pytest.mark.any_hub]


def opened(hub: AnyHub, task: int) -> int:
    """How often the task was opened."""
    return sum(call.args[0] == task and call.fault_code is None for call in hub.calls("host.openTask"))


@pytest.mark.parametrize("again", [False, True], ids=["free", "free and assign"])
def test_freed_while_a_step_runs(hub: AnyHub, make_worker: StartWorker, toy_recipes: Path, again: bool) -> None:
    # A step that does not listen: for `stop_grace` the first run's container is there while the task waits for us.
    recipe = toy_recipes / "toy.toml"
    recipe.write_text(recipe.read_text().replace("echo asked to stop; exit 3", ""))
    worker = make_worker().start()
    task = hub.make_task("toy", ["twice", 8])
    running(worker, hub, task)
    first = worker.task_process(task)
    hub.free(task)
    if again:
        hub.assign(task, hub.builder)
    wait_for(lambda: opened(hub, task) == 2, 60, worker.log.read_text())
    assert first not in worker.processes()
    assert len(worker.containers()) <= 1
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert ends_of(hub, task) == ["host.closeTask"]
    assert "left by a dead process" not in worker.log.read_text()
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_freed_during_delivery(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["twice", 1])
    running(worker, hub, task)
    hub.slow_answers(3)  # so that it is freed before it is closed, also where this process gets its turn late
    wait_for(lambda: [call for call in hub.calls("rawUpload") if call.args[1] == "said.txt"])
    hub.free(task)
    hub.assign(task, hub.builder)
    hub.slow_answers(0)
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert opened(hub, task) == 2
    assert ends_of(hub, task) == ["host.closeTask"]
    assert (hub.task_dir(task) / "say.log").read_text() == "said twice\n"
    assert worker.terminate() == 0
    worker.assert_nothing_left()
