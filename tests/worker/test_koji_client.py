"""What people do with the `koji` client while this worker serves their tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hub import HubStandIn
from tests.hub.command_line import CommandLine
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = pytest.mark.podman


def test_make_watch_look_cancel_download(hub: HubStandIn, worker: WorkerProcess, tmp_path: Path) -> None:
    koji = CommandLine(hub, tmp_path / "home")
    made = koji("make-task", "toy", "hello")
    assert made.returncode == 0, made.stderr
    task = int("".join(character for character in made.stdout if character.isdigit()))
    watched = koji("watch-task", str(task))
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert "toy" in watched.stdout
    assert "closed" in watched.stdout
    info = koji("taskinfo", "-r", str(task)).stdout
    assert "State: closed" in info
    assert "Host: builder1" in info
    assert "said.txt" in info
    assert koji("watch-logs", str(task)).stdout.count("said hello") == 1
    assert koji("download-logs", "--dir", str(tmp_path / "logs"), str(task)).returncode == 0
    assert [path.read_text() for path in (tmp_path / "logs").rglob("say.log")] == ["said hello\n"]

    bad = hub.make_task("toy", ["bad", 0, 7])
    watched = koji("watch-task", str(bad))
    assert watched.returncode == 1
    assert "BuildError: toy failed: exit code 7; see say.log for more information" in watched.stdout

    long = hub.make_task("toy", ["long", 600])
    wait_for(worker.containers)
    assert koji("cancel", str(long)).returncode == 0
    wait_for(lambda: not worker.containers(), 8)
    assert "State: canceled" in koji("taskinfo", str(long)).stdout
