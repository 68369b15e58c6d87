"""The moment a task gets its process: a host that has none to give, a signal in between."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import HubStandIn
from tests.worker.workshop import wait_for

TAKE = """
import os, resource, signal, sys, time
from types import SimpleNamespace
import encodings.idna, koji.tasks
from engine.worker.manager import Manager
from engine.worker.options import WorkerOptions
from engine.worker.session import WorkerSession
from engine.worker.state import StateDirectory

url, folder, what = sys.argv[1:]
session = WorkerSession(url, {"user": "builder1", "password": "builder1", "max_retries": 0})
session.login()
session.exclusiveSession()
options = SimpleNamespace(maxjobs=4, minspace=0, workdir=folder, topurl="http://localhost:1", topdir="/mnt/koji")
worker = WorkerOptions(max_load=1000.0)
state = StateDirectory(folder)
manager = Manager(
    options, session, worker=worker, state=state, stop_grace=1, sweep=print, check=print, space=[folder]
)
manager.set_task_classes([])

def stop(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, stop)
if what == "no process":
    os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
else:
    daemon = os.getpid()
    os.register_at_fork(after_in_parent=lambda: os.getpid() == daemon and os.kill(daemon, signal.SIGTERM))
for turn in range(200):
    try:
        manager.updateTasks()
        if manager.getNextTask() or manager.pids:
            print("taken")
    except KeyboardInterrupt:
        print("interrupted", list(manager.pids))
    except Exception as error:
        print(error)
        print("blocked", [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())])
        print("failures", [failure["text"] for failure in manager.outage.failures])
        break
    if turn and not manager.pids:
        break
    time.sleep(0.1)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path("/tmp", f"adjutant-test-forking-{os.getpid()}")  # noqa: S108 - pytest's own is closed to others
    path.mkdir()
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


def take(hub: HubStandIn, folder: Path, what: str) -> list[str]:
    """What was said by a worker's manager that takes tasks until none is left."""
    command = [sys.executable, "-c", TAKE, hub.url, str(folder), what]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_a_host_that_can_start_no_process_hears_signals_all_the_same(hub: HubStandIn, folder: Path) -> None:
    task = hub.make_task("sleep", [0])
    said = take(hub, folder, "no process")
    assert said == [
        f"task {task}: no process can be started: Resource temporarily unavailable",
        "blocked []",
        "failures ['no process can be started: Resource temporarily unavailable']",
    ]
    (refusal,) = hub.calls("host.refuseTask")
    assert refusal.args[0] == task


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_a_job_on_the_side_that_cannot_be_started_has_failed() -> None:
    code = """
import os, resource
from engine.worker.processes import SideJob
os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
before = os.listdir("/proc/self/fd")
job = SideJob(print, 10)
job.kill()
print(job.ended(), job.result, os.listdir("/proc/self/fd") == before)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "True no process can be started: Resource temporarily unavailable True\n"


def test_a_signal_at_the_fork_does_not_log_the_task_out(hub: HubStandIn, folder: Path) -> None:
    task = hub.make_task("sleep", [1])
    assert f"interrupted [{task}]" in take(hub, folder, "signal")
    wait_for(lambda: hub.task(task)["state_name"] == "CLOSED")
