"""The directory of results: complete or not there, a former run's replaced, a stranger's refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine.adapters.results_dir import ResultsDirectory
from engine.core.errors import BadInput, InfrastructureError
from engine.core.outcome import ArtifactFile, ArtifactSet, Failure, LogFile, TaskOutcome


def outcome(*files: str, log: str = "build.log", failure: Failure | None = None, **more: Any) -> TaskOutcome:
    group = ArtifactSet(
        name="rpms",
        files=tuple(ArtifactFile(name=Path(file).name, source=f"result/{file}", path=file, bytes=1) for file in files),
    )
    return TaskOutcome(
        status="failed" if failure else "done",
        method="toy",
        task_id=1,
        worker_id="w",
        plan="sha256:0",
        started=0.0,
        artifacts=(group,),
        logs=(LogFile(name=log, bytes=3),),
        failure=failure,
        **more,
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "ws"
    (place / "result/repo").mkdir(parents=True)
    (place / "logs").mkdir()
    for name in ("result/a.rpm", "result/b.rpm", "result/repo/x.xml", "logs/build.log", "logs/other.log"):
        (place / name).write_text(name)
    return place


def names(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir())


def test_everything_is_there(tmp_path: Path, workspace: Path) -> None:
    out = tmp_path / "deep/out"
    ResultsDirectory(str(out)).deliver(outcome("a.rpm", "repo/x.xml"), str(workspace))
    assert names(out) == ["a.rpm", "build.log", "repo/x.xml", "result.json"]
    assert (out / "repo/x.xml").read_text() == "result/repo/x.xml"
    assert json.loads((out / "result.json").read_text())["status"] == "done"
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_former_run_is_replaced(tmp_path: Path, workspace: Path) -> None:
    out = tmp_path / "out"
    ResultsDirectory(str(out)).deliver(outcome("a.rpm", "repo/x.xml"), str(workspace))
    ResultsDirectory(str(out)).deliver(outcome("b.rpm", log="other.log"), str(workspace))
    assert names(out) == ["b.rpm", "other.log", "result.json"]
    assert not (out / "repo").exists()


def test_the_directory_itself_stays_where_it_exists(tmp_path: Path, workspace: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    before = out.stat().st_ino
    ResultsDirectory(str(out)).deliver(outcome("a.rpm"), str(workspace))
    assert out.stat().st_ino == before


def test_a_failure_leaves_log_and_replay(tmp_path: Path, workspace: Path) -> None:
    out = tmp_path / "out"
    failed = outcome(failure=Failure(fault="BuildError", message="no"))
    ResultsDirectory(str(out), replay=lambda given: f"# {given.failure}\n").deliver(failed, str(workspace))
    assert names(out) == ["build.log", "replay.sh", "result.json"]
    assert (out / "replay.sh").stat().st_mode & 0o111
    ResultsDirectory(str(out)).deliver(outcome("a.rpm"), str(workspace))
    assert names(out) == ["a.rpm", "build.log", "result.json"]


@pytest.mark.parametrize("foreign", ["notes.txt", "repo/mine", "build.log"])
def test_a_strangers_files_stop_us_before_anything_runs(tmp_path: Path, workspace: Path, foreign: str) -> None:
    out = tmp_path / "out"
    (out / foreign).parent.mkdir(parents=True)
    (out / foreign).write_text("mine")
    with pytest.raises(BadInput, match=f"no results of a former run: {foreign}"):
        ResultsDirectory(str(out)).check()
    if foreign != "build.log":
        ResultsDirectory(str(out), force=True).deliver(outcome("a.rpm"), str(workspace))
        assert (out / foreign).read_text() == "mine"


def test_a_file_of_ones_own_beside_former_results_stops_us(tmp_path: Path, workspace: Path) -> None:
    out = tmp_path / "out"
    ResultsDirectory(str(out)).deliver(outcome("a.rpm"), str(workspace))
    (out / "patch.diff").write_text("mine")
    with pytest.raises(BadInput, match="patch.diff"):
        ResultsDirectory(str(out)).check()


def test_a_hostile_result_json_cannot_name_files_outside(tmp_path: Path, workspace: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("mine")
    out.mkdir()
    data = outcome().data() | {"logs": [{"name": "../victim"}, {"name": str(victim)}]}
    (out / "result.json").write_text(json.dumps(data))
    ResultsDirectory(str(out)).deliver(outcome("a.rpm"), str(workspace))
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '"x"'])
def test_somebody_elses_result_json_is_foreign(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(BadInput, match="result.json"):
        ResultsDirectory(str(tmp_path)).check()


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(BadInput, match="is not a directory"):
        ResultsDirectory(str(tmp_path / "out")).check()
    with pytest.raises(BadInput, match="is not a directory"):
        ResultsDirectory(str(tmp_path / "out/below")).check()


def test_what_was_there_stays_when_storing_fails(tmp_path: Path, workspace: Path) -> None:
    out = tmp_path / "out"
    ResultsDirectory(str(out)).deliver(outcome("a.rpm"), str(workspace))
    with pytest.raises(InfrastructureError, match="cannot store the results"):
        ResultsDirectory(str(out)).deliver(outcome("b.rpm", "gone.rpm"), str(workspace))
    assert names(out) == ["a.rpm", "build.log", "result.json"]


def test_what_is_not_uploaded_is_not_copied(tmp_path: Path, workspace: Path) -> None:
    out = tmp_path / "out"
    hidden = ArtifactSet(
        name="x", upload=False, files=(ArtifactFile(name="a.rpm", source="result/a.rpm", path="a.rpm", bytes=1),)
    )
    import attrs

    ResultsDirectory(str(out)).deliver(attrs.evolve(outcome(), artifacts=(hidden,)), str(workspace))
    assert names(out) == ["build.log", "result.json"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is told that it may write to /proc")
def test_a_place_that_only_seems_writable_is_refused_before_anything_is_run() -> None:
    with pytest.raises(BadInput, match=r"/proc cannot be written to: No such file or directory .name another"):
        ResultsDirectory("/proc/results").check()
