"""A task process's wish to end: set by a signal, seen by whoever can clean up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """`requested` once SIGTERM or SIGINT came. Outside of `shielded` the signal ends what runs, with SystemExit.

    SystemExit is for koji the end without a report: the daemon frees the task. (Its own ServerExit would be taken
    for a network error, and tried again, in the middle of a hub call.)
    """

    def __init__(self) -> None:
        self.requested = False
        self._shields = 0

    def handler(self, _signal: int, _frame: FrameType | None) -> None:
        """For signal.signal."""
        self.requested = True
        if not self._shields:
            raise SystemExit

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
                raise SystemExit
            yield
        finally:
            self._shields = shields
