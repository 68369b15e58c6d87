"""How many processes and how much memory a worker's container really had, seen from the host."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.rootless.cage import CGROUPS

PROC = Path("/proc")
INTERVAL = 0.03  # seconds


def monitors(worker: str) -> list[str]:
    """conmon processes of this worker: one that is left means a container that is left."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"conmon") and any(word.startswith(f"adjutant-{worker}-".encode()) for word in words):
                found.append(entry.name)
    return found


class Peaks:
    """Looks while it is entered: the most `processes` of one container, and its cgroup's most `memory` in bytes.

    `memory` stays 0 where the container has no cgroup of its own.
    """

    def __init__(self, worker: str) -> None:
        self.worker, self.processes, self.memory = worker, 0, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(INTERVAL):
            for monitor in monitors(self.worker):
                for init in _children(monitor):
                    self.processes = max(self.processes, _of_its_namespace(init))
                    self.memory = max(self.memory, _peak_memory(init))


def _children(pid: str) -> list[str]:
    with contextlib.suppress(OSError):
        return (PROC / pid / "task" / pid / "children").read_text().split()
    return []


def _namespace(pid: str) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(PROC / pid / "ns/pid")
    return ""


def _of_its_namespace(init: str) -> int:
    """Processes in the namespace of `init`, if that is not ours: the runtime is conmon's child, too."""
    wanted = _namespace(init)
    if wanted in {"", _namespace("self")}:
        return 0
    return sum(_namespace(entry.name) == wanted for entry in PROC.iterdir() if entry.name.isdigit())


def _peak_memory(pid: str) -> int:
    for file in _memory_files(pid):
        with contextlib.suppress(OSError):
            return int(file.read_text())
    return 0


def _memory_files(pid: str) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for line in (PROC / pid / "cgroup").read_text().splitlines():
            _number, controllers, path = line.split(":", 2)
            if "libpod-" not in path:
                continue
            if "memory" in controllers.split(","):
                yield CGROUPS / "memory" / path.lstrip("/") / "memory.max_usage_in_bytes"
            elif not controllers:
                yield CGROUPS / path.lstrip("/") / "memory.peak"
