"""What people do with the `koji` client while this worker serves their tasks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.hub import HubStandIn
from tests.hub.command_line import CommandLine
from tests.podmanhost import task_image
from tests.worker.conftest import AnyHub
from tests.worker.test_builds import TAG, builder, world
from tests.worker.workshop import WorkerProcess, wait_for
from tools import standin

__all__ = ["builder", "task_image", "world"]
pytestmark = pytest.mark.podman


@pytest.mark.any_hub
def test_make_watch_look_cancel_download(hub: AnyHub, worker: WorkerProcess, tmp_path: Path) -> None:
    koji = CommandLine(hub, tmp_path / "home", hub.admin, hub.password(hub.admin))
    made = koji("make-task", *(["--channel", hub.channel] if hub.channel else []), "toy", "hello")
    assert made.returncode == 0, made.stderr
    task = int("".join(character for character in made.stdout if character.isdigit()))
    watched = koji("watch-task", str(task))
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert "toy" in watched.stdout
    assert "closed" in watched.stdout
    info = koji("taskinfo", "-r", str(task)).stdout
    assert "State: closed" in info
    assert f"Host: {hub.builder}" in info
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
    wait_for(lambda: not worker.containers())
    assert "State: canceled" in koji("taskinfo", str(long)).stdout


def test_a_queue_of_both_kinds(hub: HubStandIn, builder: WorkerProcess, world: int, tmp_path: Path) -> None:
    koji = CommandLine(hub, tmp_path / "home")
    hub.add_tag("dist-small", "x86_64", groups={"build": ["bash"]})
    hub.add_builds(sorted(standin.world_repo().rglob("*.noarch.rpm"))[:3], "dist-small")
    tasks = []
    for sample in ("hello-noarch", "fails-in-build"):
        package = standin.srpm(sample)
        upload = hub.topdir / "work" / "cli-build" / sample
        upload.mkdir(parents=True)
        shutil.copy(package, upload)
        arguments = [f"cli-build/{sample}/{package.name}", TAG, "x86_64", True, {"repo_id": world}]
        made = koji("call", "--json-input", "makeTask", '"buildArch"', json.dumps(arguments), 'arch="x86_64"')
        assert made.returncode == 0, made.stderr
        tasks.append(int(made.stdout))
        repo = hub.add_repo("dist-small", state="INIT")
        made = koji("make-task", "createrepo", str(repo), "x86_64", "None")
        assert made.returncode == 0, made.stderr
        tasks.append(int(made.stdout.split()[-1]))
    watched = koji("watch-task", *map(str, tasks), timeout=300)
    assert watched.returncode == 1, watched.stdout + watched.stderr  # one of them fails
    states = {task: "failed" if task == tasks[2] else "closed" for task in tasks}
    for task, state in states.items():
        assert f"State: {state}" in koji("taskinfo", str(task)).stdout, builder.log.read_text()[-3000:]
    failed = [
        line for line in watched.stdout.splitlines() if line.startswith(f"{tasks[2]} buildArch") and "FAILED" in line
    ]
    assert any(
        "BuildError: error building package (arch x86_64), mock exited with status 1; see " in line for line in failed
    )
    assert koji("download-logs", "--dir", str(tmp_path / "logs"), str(tasks[0])).returncode == 0
    assert {"build.log", "root.log"} <= {path.name for path in (tmp_path / "logs").rglob("*.log")}
    assert builder.terminate() == 0
    builder.assert_nothing_left()
