"""Did the kernel kill something in this container for memory?

podman 4 does not know (``State.OOMKilled`` stays false), so the counters of the container's cgroup are watched while
it lives: the cgroup is gone soon after the exit. A killed compiler in a container that ends with an
ordinary exit code counts too.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Self

CGROUPS = Path("/sys/fs/cgroup")

_SETTLE = 0.1  # seconds the kernel gets to deliver the last event of a cgroup that was removed


class OomWatch:
    """Watches the cgroup `path` (as podman names it, ``/libpod_parent/libpod-…``); silent where it may not look.

    cgroup v1: the kernel adds 1 to an eventfd for each out-of-memory, and 1 when the cgroup goes; a thread reads it at
    once, because only while the cgroup is there the one can be told from the other. v2: the counter ``oom_kill`` is
    read at each `look`; podman 5 reports the rest itself.
    """

    def __init__(self, path: str, *, root: Path = CGROUPS) -> None:
        self._seen = threading.Event()
        self._eventfd: int | None = None
        self._closing = False
        relative = path.lstrip("/")
        v1 = root / "memory" / relative / "memory.oom_control"
        self._counters = v1 if v1.exists() else root / relative / "memory.events"
        if relative and v1.exists():
            self._listen(v1)

    @property
    def seen(self) -> bool:
        """Whether something was killed for memory, as far as is known now."""
        return self._seen.is_set()

    def look(self) -> None:
        """Read the counters; cheap, a few times a second."""
        with contextlib.suppress(OSError, ValueError):
            words = self._counters.read_text().split()
            if int(words[words.index("oom_kill") + 1]) > 0:
                self._seen.set()

    def finish(self, *, failed: bool) -> bool:
        """The verdict, after the container has exited; if it `failed`, waits up to 0.1 s for the kernel's last word."""
        self.look()
        if failed and self._eventfd is not None:
            self._seen.wait(_SETTLE)
        return self.seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._eventfd is not None:
            self._closing = True
            os.eventfd_write(self._eventfd, 1)
            self._reader.join()
            os.close(self._eventfd)
            self._eventfd = None

    def _listen(self, control: Path) -> None:
        eventfd = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            with open(control) as watched:
                (control.parent / "cgroup.event_control").write_text(f"{eventfd} {watched.fileno()}")
        except OSError:  # not root, or a kernel without it
            os.close(eventfd)
            return
        self._eventfd = eventfd
        self._reader = threading.Thread(target=self._read, args=(eventfd,), name="oom events", daemon=True)
        self._reader.start()

    def _read(self, eventfd: int) -> None:
        events = 0
        while True:
            events += os.eventfd_read(eventfd)
            if self._closing:
                return
            if events >= 2 or self._counters.exists():
                self._seen.set()
