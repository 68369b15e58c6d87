"""What is fetched before the root is chosen: given away once, and never more forgiving than the hub's files."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from engine.adapters.hub_files import HubFiles
from engine.adapters.workspace import TaskDirectory, Workdir
from engine.core.errors import InfrastructureError, Interrupted, TaskFailed
from engine.core.plan import PlannedInput
from engine.worker.fetched import FetchedFirst

SOURCE = PlannedInput(name="srpm", source="cli-build/1/a.src.rpm", path="in/a.src.rpm")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[TaskDirectory]:
    made = Workdir(str(tmp_path / "work")).claim(1)
    yield made
    made.remove()


@pytest.fixture
def source(tmp_path: Path, workspace: TaskDirectory) -> FetchedFirst:
    folder = tmp_path / "koji/work/cli-build/1"
    folder.mkdir(parents=True)
    (folder / "a.src.rpm").write_bytes(b"x" * 3_000_000)
    return FetchedFirst(HubFiles("", str(tmp_path / "koji"), str(tmp_path)), workspace)


def test_it_is_fetched_once_and_given_away(tmp_path: Path, source: FetchedFirst) -> None:
    path = Path(source.fetch(SOURCE, lambda: False))
    (tmp_path / "koji/work/cli-build/1/a.src.rpm").unlink()
    with source.open(SOURCE) as stream:
        assert stream.read() == b"x" * 3_000_000
    assert not path.exists()
    with pytest.raises(TaskFailed, match="No such file on the hub"):
        source.open(SOURCE)


def test_a_wish_to_stop_is_heard(source: FetchedFirst) -> None:
    with pytest.raises(Interrupted, match="stopped while fetching"):
        source.fetch(SOURCE, lambda: True)


def test_what_the_hub_does_not_have(tmp_path: Path, source: FetchedFirst) -> None:
    (tmp_path / "koji/work/cli-build/1/a.src.rpm").unlink()
    with pytest.raises(TaskFailed, match="No such file on the hub"):
        source.fetch(SOURCE, lambda: False)


class Packing(BaseHTTPRequestHandler):
    """A proxy that packs what it hands on: what comes out has another length than was told."""

    def do_GET(self) -> None:
        body = gzip.compress(b"x" * 1000)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not to standard error."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # koji leaves its file to be collected
def test_a_file_that_came_in_part_is_no_fault_of_the_package(tmp_path: Path) -> None:
    """koji's own check of the length: where urllib3 1.26 is, of every download that was cut off."""
    with HTTPServer(("127.0.0.1", 0), Packing) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            files = HubFiles(f"http://127.0.0.1:{server.server_port}", "", str(tmp_path))
            with pytest.raises(InfrastructureError, match="cannot fetch work/cli-build/1/a.src.rpm: .*expected size"):
                files.open(SOURCE)
        finally:
            server.shutdown()
            thread.join()
