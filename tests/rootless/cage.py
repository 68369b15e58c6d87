"""A cgroup around everything of a plain user, made by root: what MemoryMax= and TasksMax= of a systemd unit do."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


class NoCage(Exception):
    """This host lets us make none."""


class Cage:
    """Bounds `memory` in bytes and, where said, `pids`. Raises NoCage. Containers of the user stay inside it."""

    def __init__(self, name: str, memory: int, pids: int | None = None) -> None:
        self.places: list[Path] = []
        unified = (CGROUPS / "cgroup.controllers").exists()
        files = ("memory.max", "pids.max") if unified else ("memory.limit_in_bytes", "pids.max")
        try:
            for controller, file, value in zip(("memory", "pids"), files, (memory, pids), strict=True):
                if value is None:
                    continue
                place = CGROUPS / name if unified else CGROUPS / controller / name
                if place not in self.places:
                    place.mkdir()
                    self.places.append(place)
                (place / file).write_text(str(value))
        except OSError as error:
            self.close()
            raise NoCage(f"no cgroup can be made here: {error}") from None

    def command(self, *words: str) -> list[str]:
        """What runs `words` inside."""
        enter = "".join(f"echo $$ > {place}/cgroup.procs && " for place in self.places)
        return ["sh", "-c", f'{enter}exec "$@"', "sh", *words]

    def peak(self) -> int:
        """The most memory there was, in bytes."""
        for name in ("memory.max_usage_in_bytes", "memory.peak"):
            for place in self.places:
                with contextlib.suppress(OSError):
                    return int((place / name).read_text())
        return 0

    def processes(self) -> int:
        return len((self.places[0] / "cgroup.procs").read_text().split())

    def kill(self, word: str) -> None:
        """Kill what runs in the cage with `word` in its command line."""
        for pid in (self.places[0] / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        """Empty by now, or kept: killing is for the user's own end."""
        for place in self.places:
            end = time.monotonic() + 5
            while time.monotonic() < end:
                with contextlib.suppress(OSError):
                    for child in sorted(place.glob("**/"), key=lambda path: len(path.parts), reverse=True):
                        os.rmdir(child)
                if not place.exists():
                    break
                time.sleep(0.1)
        self.places = []
