"""The work directory's disk is full in mid-task: the task goes to another host, the worker and its disk recover."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.conftest import AnyHub, StartWorker
from tests.worker.workshop import wait_for

pytestmark = pytest.mark.podman


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m,mode=0700", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("cannot mount a small file system here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.any_hub
@pytest.mark.parametrize(
    "script",
    [
        # Long enough for turns of the worker's loop on the full disk.
        'cat /dev/zero > "$4/said.txt"; sleep 2; exit 1',
        'cat /dev/zero > "$4/said.txt"; sleep 4; rm "$4/said.txt"; exit 1',
        "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done",
    ],
    ids=["result", "freed-again", "log"],
)
def test_a_disk_that_fills_up_in_mid_task(
    hub: AnyHub, small_disk: Path, make_worker: StartWorker, toy_recipes: Path, script: str
) -> None:
    recipe = toy_recipes / "toy.toml"
    recipe.write_text(recipe.read_text().replace('echo "said $1"\n', f'if [ "$1" = fill ]; then {script}; fi\n'))
    worker = make_worker(workdir=str(small_disk / "work"))
    worker.workdir = small_disk / "work"
    worker.start()
    task = hub.make_task("toy", ["fill"])
    refusal = wait_for(lambda: hub.calls("host.refuseTask"), 90)[0]
    hub.cancel(task)
    assert refusal.args[0] == task
    assert refusal.fault_code is None
    assert refusal.kwargs.get("soft", True) is True
    assert "disk full: " in refusal.kwargs["msg"]
    assert f"free on {worker.workdir}" in refusal.kwargs["msg"]
    assert hub.calls("host.failTask") == hub.calls("host.closeTask") == []
    wait_for(lambda: not worker.workspaces())
    wait_for(lambda: not worker.containers())
    after = hub.make_task("toy", ["after"])
    assert hub.wait_task(after)["state_name"] == "CLOSED", worker.log.read_text()
    assert worker.terminate() == 0
    assert "Traceback" not in worker.log.read_text().replace("TRACEBACK", ""), worker.log.read_text()
    worker.assert_nothing_left()
