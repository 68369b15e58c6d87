"""Looking for a secret in what a system wrote: as it is, and as base64, which podman keeps secrets in."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

BIGGEST = 50_000_000
"""Bytes; bigger files are not searched."""


def needles(secret: str) -> list[bytes]:
    """What gives `secret` away: its bytes, and what base64 makes of them at each of its three alignments."""
    plain = secret.encode()
    found = [plain]
    for before in range(3):
        text = base64.b64encode(bytes(before) + plain)
        found.append(
            text[-(-before * 8 // 6) : (before + len(plain)) * 8 // 6]
        )  # without digits that hold others' bits
    return found


def holding(secret: str, *folders: Path | str) -> list[Path]:
    """Regular files below `folders` that hold `secret`."""
    found = []
    for path in _files(*folders):
        try:
            if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_size > BIGGEST:
                continue
            data = path.read_bytes()
        except OSError:
            continue
        if any(needle in data for needle in needles(secret)):
            found.append(path)
    return found


def processes_holding(secret: str) -> list[int]:
    """Processes of this host, other than this one, with `secret` in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        for name in ("cmdline", "environ"):
            try:
                data = (entry / name).read_bytes()
            except OSError:
                continue
            if any(needle in data for needle in needles(secret)):
                found.append(int(entry.name))
    return found


def _files(*folders: Path | str) -> Iterator[Path]:
    for folder in folders:
        for directory, _names, names in os.walk(folder):
            for name in names:
                yield Path(directory, name)
