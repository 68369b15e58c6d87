"""`engine worker` itself: READY only after checks and self-test; with what is missing it ends and says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.hub import HubStandIn
from tests.worker.conftest import hub, toy_recipes
from tests.worker.workshop import WorkerProcess, wait_for

__all__ = ["hub", "toy_recipes"]
pytestmark = pytest.mark.podman


def worker_of(hub: HubStandIn, folder: Path, image: str, recipes: Path) -> WorkerProcess:
    made = WorkerProcess(hub, folder / "worker", image, user="builder1", recipes=recipes)
    made.settings["worker"]["self_test"] = True
    return made


def test_ready_after_the_self_test(hub: HubStandIn, tmp_path: Path, task_image: str, toy_recipes: Path) -> None:
    worker = worker_of(hub, tmp_path, task_image, toy_recipes)
    try:
        worker.start(ready=False)
        wait_for(worker.is_ready, 90, "not ready")
        log = worker.log.read_text()
        assert log.index("checks and tries passed") < log.index("engine.worker.daemon: ready: ")
        assert worker.terminate() == 0
        worker.assert_nothing_left()
    finally:
        worker.close()


def test_not_ready_on_an_unfit_image(hub: HubStandIn, tmp_path: Path, tiny_image: str, toy_recipes: Path) -> None:
    worker = worker_of(hub, tmp_path, tiny_image, toy_recipes)
    try:
        worker.start(ready=False)
        assert isinstance(worker.process, subprocess.Popen)
        assert worker.process.wait(90) == 4
        log = worker.log.read_text()
        assert "this host is not fit to run tasks" in log
        assert "image.koji" not in log  # the tiny image has the user
        assert "install rpm-build in the image" in log
    finally:
        worker.close()
