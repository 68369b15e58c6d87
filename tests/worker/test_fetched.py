"""What is fetched before the root is chosen: given away once, and never more forgiving than the hub's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.hub_files import HubFiles
from engine.adapters.workspace import TaskDirectory, Workdir
from engine.core.errors import Interrupted, TaskFailed
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
