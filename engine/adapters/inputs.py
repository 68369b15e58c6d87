"""Inputs of a run without a hub: files and directories of this host. An `engine.runner.ports.InputSource`."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from engine.core.errors import BadInput, Problem
from engine.core.plan import PlannedInput


class LocalFiles:
    """Inputs by their path on this host."""

    def open(self, planned: PlannedInput) -> BinaryIO:
        """The file; BadInput when it is not there, is no regular file or may not be read."""
        if not planned.local:
            cure = f"give it on the command line: {planned.name} is a file on the hub"
            raise _refused(planned, f"{planned.source} is on no hub here", cure)
        try:
            # O_NONBLOCK: a fifo must be refused, not waited for.
            opened = os.open(planned.source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _refused(planned, _why(planned.source, error)) from None
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            os.close(opened)
            raise _refused(planned, f"{planned.source} is not a file")
        return open(opened, "rb", buffering=0)

    def check_tree(self, planned: PlannedInput) -> None:
        """BadInput unless the directory is there and can be read."""
        try:
            os.close(os.open(planned.source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise _refused(planned, _why(planned.source, error)) from None


def _why(path: str, error: OSError) -> str:
    return f"{path}: {error.strerror}"


def _refused(planned: PlannedInput, message: str, cure: str = "") -> BadInput:
    return BadInput([Problem("request", f"inputs.{planned.name}", message, cure)])
