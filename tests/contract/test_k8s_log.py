"""The reader of conmon's log file, without podman."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.adapters.k8s_log import CHUNK, K8sLog

F = b"2026-11-23T15:55:21.646414600+00:00 stdout F "
P = b"2026-11-23T15:55:21.646414600+00:00 stderr P "


def test_grows_between_reads(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with K8sLog(str(path)) as log:
        assert log.read() == b""  # not there yet
        with path.open("ab", buffering=0) as file:
            file.write(F + b"one\n" + F[:20])
            assert log.read() == b"one\n"
            assert log.read() == b""  # half a line is held back
            file.write(F[20:] + b"two\n" + P + b"half ")
            assert log.read() == b"two\n"
            file.write(b"line\n" + F + b" rest\n")
            assert log.read() == b"half line rest\n"


def test_text_that_looks_like_the_format_is_text(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(F + F + b"x\n" + F + b"\n" + F + b" stdout P y\n")
    with K8sLog(str(path)) as log:
        assert log.read() == F + b"x\n\n stdout P y\n"


def test_an_empty_piece_does_not_end_the_log(tmp_path: Path) -> None:
    """`read` answers b"" only at the end, also when a whole chunk holds no output."""
    path = tmp_path / "log"
    path.write_bytes((P + b"\n") * (2 * CHUNK // len(P)) + F + b"end\n")
    with K8sLog(str(path)) as log:
        assert log.read() == b"end\n"
        assert log.read() == b""


@pytest.mark.parametrize("content", [b"not a log\n", b"x" * (CHUNK // 2)])
def test_another_format_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with K8sLog(str(path)) as log, pytest.raises(OSError, match="k8s-file"):
        log.read()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(F + b"secret\n")
    (tmp_path / "log").symlink_to("secret")
    with K8sLog(str(tmp_path / "log")) as log, pytest.raises(OSError, match="symbolic links"):
        log.read()
