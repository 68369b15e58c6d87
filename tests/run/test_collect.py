"""Collecting what a stranger's build left: regular files only, copied without rights, bounded."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters import paths
from engine.adapters.collect import copy_out, scan
from engine.core.errors import TaskFailed
from engine.core.recipe import Artifact
from engine.core.results import select

ALL = (Artifact(name="all", glob=("result/**",)),)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "ws" / "result").mkdir(parents=True)
    opened = paths.open_root(str(tmp_path / "ws"))
    yield opened
    os.close(opened)


@pytest.fixture
def target(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "out").mkdir()
    opened = paths.open_root(str(tmp_path / "out"))
    yield opened
    os.close(opened)


def test_kinds_and_sizes(root: int, tmp_path: Path) -> None:
    result = tmp_path / "ws/result"
    (result / "file").write_bytes(b"12345")
    (result / "sub").mkdir()
    (result / "sub/deep").write_text("")
    (result / "link").symlink_to("/etc/passwd")
    (result / "loop").symlink_to(".")
    os.mkfifo(result / "fifo")
    with (result / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    found = {entry.path: entry for entry in scan(root, ALL)}
    kinds = {path: entry.kind for path, entry in found.items()}
    assert kinds == {
        "result": "directory",
        "result/file": "file",
        "result/sub": "directory",
        "result/sub/deep": "file",
        "result/link": "link",
        "result/loop": "link",
        "result/fifo": "other",
        "result/sparse": "file",
    }
    assert found["result/file"].bytes == 5
    assert found["result/sparse"].bytes == 1 << 40
    assert found["result/sparse"].allocated < 1 << 20


def test_directories_without_artifacts_are_not_read(root: int, tmp_path: Path) -> None:
    (tmp_path / "ws/result/huge").mkdir()
    (tmp_path / "ws/result/huge/file").write_text("")
    found = [entry.path for entry in scan(root, (Artifact(name="x", glob=("result/*.rpm",)),))]
    assert found == ["result", "result/huge"]


def test_a_tree_without_end_is_given_up(root: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.adapters.collect.MAX_ENTRIES", 50)
    for number in range(60):
        (tmp_path / f"ws/result/{number}").write_text("")
    with pytest.raises(TaskFailed, match="more than 50 files"):
        scan(root, ALL)


def test_a_deep_tree_is_read_down_to_its_limit(root: int, tmp_path: Path) -> None:
    deep = tmp_path / "ws/result"
    for _ in range(100):
        deep /= "d"
        deep.mkdir()
    assert max(entry.path.count("/") for entry in scan(root, ALL)) == 64


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_directory_is_a_failure(root: int, tmp_path: Path) -> None:
    (tmp_path / "ws/result").chmod(0)
    with pytest.raises(TaskFailed, match="cannot be read"):
        scan(root, ALL)
    (tmp_path / "ws/result").chmod(0o755)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_failure_of_the_package(root: int, tmp_path: Path) -> None:
    (tmp_path / "ws/result/secret").write_text("x")
    (tmp_path / "ws/result/secret").chmod(0)
    failure = select(ALL, scan(root, ALL)).failure
    assert failure is not None
    assert failure.fault == "BuildError"
    assert "'result/secret' cannot be read by others" in failure.message


def test_a_copy_has_the_content_and_no_special_bits(root: int, target: int, tmp_path: Path) -> None:
    source = tmp_path / "ws/result/tool"
    source.write_bytes(b"x" * 3_000_000)
    source.chmod(0o7755)
    assert copy_out(root, "result/tool", target, "sub/tool") == 3_000_000
    made = tmp_path / "out/sub/tool"
    assert made.read_bytes() == source.read_bytes()
    assert stat.S_IMODE(made.stat().st_mode) == 0o755
    source.chmod(0o600)
    copy_out(root, "result/tool", target, "plain")
    assert stat.S_IMODE((tmp_path / "out/plain").stat().st_mode) == 0o644


@pytest.mark.parametrize("path", ["result/link", "result/fifo", "result/dir", "result/linked/passwd", "result/none"])
def test_only_regular_files_reached_without_links_are_copied(root: int, target: int, tmp_path: Path, path: str) -> None:
    result = tmp_path / "ws/result"
    (result / "link").symlink_to("/etc/passwd")
    (result / "linked").symlink_to("/etc")
    (result / "dir").mkdir()
    os.mkfifo(result / "fifo")
    with pytest.raises(OSError, match=".+"):
        copy_out(root, path, target, "copy")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_copy_replaces_nothing(root: int, target: int, tmp_path: Path) -> None:
    (tmp_path / "ws/result/a").write_text("new")
    (tmp_path / "out/a").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        copy_out(root, "result/a", target, "a")
    assert not (tmp_path / "victim").exists()
