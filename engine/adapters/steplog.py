"""A step's log on the host: what the container printed, up to a limit, and its end for messages."""

from __future__ import annotations

import os

TAIL_BYTES = 256 * 1024


class FileLog:
    """A log that is added to by one step after the other. Implements `engine.runner.ports.StepLog`.

    `write` never raises, for it is called while a container must be watched: it sets `cut` when the limit is
    reached (what does not fit is dropped) and `trouble` when the disk refuses.
    """

    def __init__(self, path: str, limit: int) -> None:
        self.path, self.limit = path, limit
        self.cut = False
        self.trouble: OSError | None = None
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o644)
        self.size = os.fstat(self._file).st_size

    @property
    def room(self) -> int:
        """Bytes that still fit below the limit."""
        return max(0, self.limit - self.size)

    def write(self, data: bytes) -> None:
        """Add `data`."""
        if self.cut:
            return
        room = self.room
        self._write(data[:room])
        if len(data) > room and self.trouble is None:
            self.end_early()

    def end_early(self) -> None:
        """Say in the log that what follows is missing."""
        if not self.cut:
            self.cut = True
            self._write(f"\n[the log ends here: it grew beyond {self.limit} bytes]\n".encode())

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest and self.trouble is None:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self.trouble = error
        self.size += len(data) - len(rest)

    def tail(self) -> str:
        """The last part of the log as text, at most `TAIL_BYTES`, from the start of a line where it can be."""
        start = max(0, self.size - TAIL_BYTES)
        data = os.pread(self._file, TAIL_BYTES, start)
        if start and b"\n" in data:
            data = data.split(b"\n", 1)[1]
        return data.decode(errors="replace")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
