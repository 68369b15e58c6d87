"""Private podman services and temporary directories whose owner died (see `engine.adapters.podman_service`)."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "adjutant-podman-"
LOG_PREFIX = "adjutant-log-"
OWNER = "owner"
YOUNG = 60.0
"""Seconds in which a directory may still be about to get its owner's number."""
LOG_AGE = 2 * 86400.0


def remove_stale_services(folder: str | None = None, proc: Path = Path("/proc")) -> list[str]:
    """End services and remove directories of dead owners, of this user only; the directories' paths."""
    removed = []
    for path in _own(Path(folder or tempfile.gettempdir()), PREFIX):
        if _alive(path):
            continue
        for pid in _services(path, proc):
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)
        shutil.rmtree(path, ignore_errors=True)
        removed.append(str(path))
    for path in _own(Path(folder or tempfile.gettempdir()), LOG_PREFIX):
        if _age(path) > LOG_AGE:
            shutil.rmtree(path, ignore_errors=True)
            removed.append(str(path))
    return removed


def _own(folder: Path, prefix: str) -> list[Path]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                info = entry.stat(follow_symlinks=False)
                if entry.name.startswith(prefix) and stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid():
                    found.append(Path(entry.path))
    return sorted(found)


def _alive(path: Path) -> bool:
    """Whether the owner lives; a directory without a number is left alone while it is young."""
    try:
        pid = int((path / OWNER).read_text())
    except (OSError, ValueError):
        return _age(path) < YOUNG
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _age(path: Path) -> float:
    """Seconds since it was changed; none for one that its owner has removed meanwhile."""
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _services(path: Path, proc: Path) -> list[int]:
    """Processes whose last argument is the directory's socket."""
    wanted = f"unix://{path}/podman.sock".encode()
    found = []
    for entry in proc.iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found
