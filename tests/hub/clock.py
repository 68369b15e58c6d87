"""The hub's clock: wall time that a test may freeze or move."""

from __future__ import annotations

import datetime
import threading
import time

__all__ = ["Clock", "as_text"]


class Clock:
    """Seconds since the epoch, as a hub sees them.

    Runs with the wall clock plus an offset until `freeze` is called; then it only moves by `advance`
    and `move_to`. Times never go backwards.
    """

    def __init__(self, frozen_at: float | None = None) -> None:
        self._lock = threading.Lock()
        self._offset = 0.0
        self._frozen = frozen_at

    def now(self) -> float:
        with self._lock:
            return self._now()

    def advance(self, seconds: float) -> None:
        """Move `seconds` (>= 0) into the future."""
        if seconds < 0:
            msg = f"a hub's clock never goes back, asked for {seconds} s"
            raise ValueError(msg)
        with self._lock:
            if self._frozen is None:
                self._offset += seconds
            else:
                self._frozen += seconds

    def move_to(self, timestamp: float) -> None:
        """Move to `timestamp` (seconds since the epoch); a time already past is ignored."""
        with self._lock:
            missing = timestamp - self._now()
        if missing > 0:
            self.advance(missing)

    def freeze(self) -> None:
        with self._lock:
            self._frozen = self._now()

    def _now(self) -> float:
        return round(time.time() + self._offset if self._frozen is None else self._frozen, 6)


def as_text(timestamp: float | None) -> str | None:
    """A time as the hub spells it next to every `*_ts` field; None stays None."""
    if timestamp is None:
        return None
    return datetime.datetime.fromtimestamp(timestamp, datetime.UTC).isoformat(" ")
