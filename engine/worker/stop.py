"""A task process's wish to end: set by a signal, seen by whoever can clean up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import koji.tasks


class StopRequest:
    """`requested` once SIGTERM or SIGINT came. Outside of `shielded` the signal ends what runs, with ServerExit.

    ServerExit is koji's word for ending without a report: the daemon frees the task.
    """

    def __init__(self) -> None:
        self.requested = False
        self._shields = 0

    def handler(self, _signal: int, _frame: FrameType | None) -> None:
        """For signal.signal."""
        self.requested = True
        if not self._shields:
            raise koji.tasks.ServerExit

    def request(self) -> None:
        """The same wish from within, e.g. because the hub says that the task is not ours any more."""
        self.requested = True

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """While containers exist: whoever runs them asks `requested` and removes them."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1

    @contextmanager
    def unshielded(self) -> Iterator[None]:
        """Within `shielded`, around calls that may wait for the hub for long and hold no container."""
        shields, self._shields = self._shields, 0
        try:
            if self.requested:
                raise koji.tasks.ServerExit
            yield
        finally:
            self._shields = shields
