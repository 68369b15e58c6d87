"""Standard output and error whose reader may go away."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO


class Leavable(io.TextIOWrapper):
    """A stream that is written to nowhere once its reader is gone (``engine … | head``).

    Nothing is wrong then, and nothing more can be said; but what was begun is finished, and the exit code stays true.
    """

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._leave()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def leavable(stream: TextIO) -> TextIO:
    """`stream` as a `Leavable` one, where it is a file at all."""
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, Leavable):
        return stream
    errors = "backslashreplace" if stream.errors == "strict" else stream.errors  # a name that is no text ends nothing
    return Leavable(stream.buffer, encoding=stream.encoding, errors=errors, line_buffering=stream.line_buffering)


def forgive_readers() -> None:
    """Let the process's own output and error be left by their readers."""
    sys.stdout, sys.stderr = leavable(sys.stdout), leavable(sys.stderr)
