"""200 MB of log through a worker, and a cancel while a large source package is fetched or a task only assigned."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.hub import HubStandIn
from tests.worker.conftest import AnyHub, StartWorker
from tests.worker.test_builds import QuietFiles
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = pytest.mark.podman

FETCH = """

[[inputs]]
name   = "large"
source = "{{ params.text }}"
"""


@pytest.mark.any_hub
def test_two_hundred_megabytes_of_log(hub: AnyHub, make_worker: StartWorker, toy_recipes: Path) -> None:
    recipe = toy_recipes / "toy.toml"
    # Doubled until it is large: one `cat` then prints it as fast as podman takes it.
    loop = """
printf '%064d\\\\n' 0 > /tmp/a
n=0
while [ $n -lt 15 ]; do cat /tmp/a /tmp/a > /tmp/b; cat /tmp/b > /tmp/a; n=$((n + 1)); done
n=0
while [ $n -lt 100 ]; do cat /tmp/a; n=$((n + 1)); done
"""
    recipe.write_text(recipe.read_text().replace('echo "said $1"\n', loop))
    worker = make_worker().start()
    task = hub.make_task("toy", ["much"])
    log = hub.task_dir(task) / "say.log"
    wait_for(log.exists, 60, worker.log.read_text())
    assert hub.wait_task(task, 400)["state_name"] == "CLOSED", worker.log.read_text()
    line = b"0" * 64 + b"\n"
    wanted = hashlib.sha256()
    for _ in range(100):
        wanted.update(line * 32768)
    assert log.stat().st_size == 100 * 32768 * 65  # 213 MB
    with log.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == wanted.hexdigest()
    times = [call.time for call in hub.calls("host.updateHost")]
    assert max(later - earlier for earlier, later in zip(times, times[1:], strict=False)) < 60
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_cancel_while_assigned(hub: AnyHub, worker: WorkerProcess) -> None:
    hub.slow_answers(5, since="getTaskInfo")
    task = hub.make_task("toy", ["never"])
    wait_for(lambda: [call for call in hub.calls("getTaskInfo", who=hub.builder) if call.args[0] == task])
    assert hub.task(task)["state_name"] == "ASSIGNED"
    hub.cancel(task)
    hub.slow_answers(0)
    wait_for(lambda: hub.calls("host.openTask"))
    assert hub.calls("host.openTask")[0].result is None
    again = hub.make_task("toy", ["next"])
    assert hub.wait_task(again)["state_name"] == "CLOSED", worker.log.read_text()
    assert hub.task(task)["state_name"] == "CANCELED"
    assert not hub.task_dir(task).exists()
    assert worker.terminate() == 0
    worker.assert_nothing_left()


class SlowFiles(QuietFiles):
    """A megabyte each second; `begun` is set with the first."""

    begun = threading.Event()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        with suppress(BrokenPipeError):
            while data := source.read(1024**2):
                outputfile.write(data)
                self.begun.set()
                time.sleep(1)


@pytest.fixture
def slow_files(hub: HubStandIn) -> Iterator[str]:
    """The hub's file tree, slowly."""
    SlowFiles.begun.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SlowFiles, directory=str(hub.topdir))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_cancel_while_fetching(hub: HubStandIn, make_worker: StartWorker, toy_recipes: Path, slow_files: str) -> None:
    recipe = toy_recipes / "toy.toml"
    recipe.write_text(recipe.read_text().replace("\n[result]", FETCH + "\n[result]", 1))
    large = hub.topdir / "work" / "large" / "a.src.rpm"
    large.parent.mkdir(parents=True)
    large.write_bytes(b"\0" * 100 * 1024**2)
    worker = make_worker(topurl=slow_files).start()
    task = hub.make_task("toy", ["large/a.src.rpm"])
    assert SlowFiles.begun.wait(60), worker.log.read_text()
    assert worker.workspaces()
    hub.cancel(task)
    began = time.monotonic()
    wait_for(lambda: not worker.workspaces(), 90, worker.log.read_text())
    assert time.monotonic() - began < 50  # fetching all of it would take twice as long
    assert worker.containers() == []
    assert "did not stop" not in worker.log.read_text()
    assert hub.task(task)["state_name"] == "CANCELED"
    assert worker.terminate() == 0
    worker.assert_nothing_left()
