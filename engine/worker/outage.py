"""A worker whose infrastructure keeps failing takes itself out, says why, and comes back by a self-check."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from engine.worker.options import WorkerOptions
from engine.worker.processes import SideJob

logger = logging.getLogger(__name__)

CHECK_LIMIT = 600.0
KEPT = 20


class Outage:
    """Counts failures in a row. `failures` are the last ones: time, task, method, text."""

    def __init__(self, options: WorkerOptions, check: Callable[[], None]) -> None:
        """`check` is the self-check; it runs in a process of its own and raises for failure."""
        self.options, self._check = options, check
        self.failures: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._in_a_row = 0
        self._until: float | None = None  # by the clock that nobody sets
        self._job: SideJob | None = None

    @property
    def checking(self) -> bool:
        """True while a self-check runs."""
        return self._job is not None

    def note(self, task_id: int, method: str, text: str, *, counts: bool = True) -> None:
        """A failure of this host; `counts`: of its infrastructure."""
        self.failures.append({"time": time.time(), "task": task_id, "method": method, "text": text})
        if not counts:
            return
        self._in_a_row += 1
        if self._in_a_row >= self.options.failures and self._until is None:
            logger.error("%d infrastructure failures in a row; taking no tasks. Last: %s", self._in_a_row, text)
            self._until = time.monotonic() + self.options.pause

    def over(self) -> None:
        """A task got through."""
        self._in_a_row = 0

    def resume(self) -> None:
        """Run the self-check now, if the worker took itself out."""
        if self._until is not None:
            self._until = time.monotonic()

    def close(self) -> None:
        """End a self-check that runs."""
        if self._job is not None:
            self._job.kill()

    def reason(self) -> str:
        """Why no task is taken; "" when the infrastructure is fine. Starts and follows the self-check."""
        if self._until is None:
            return ""
        if self._job is not None:
            if not self._job.ended():
                return "self-check is running"
            words, self._job = self._job.result, None
            if not words:
                logger.warning("self-check passed; taking tasks again")
                # One more failure and it is out again.
                self._until, self._in_a_row = None, self.options.failures - 1
                return ""
            self._until = time.monotonic() + self.options.pause
            self.note(0, "self-check", words)
        if time.monotonic() >= self._until:
            self._job = SideJob(self._check, CHECK_LIMIT)
            return "self-check is running"
        left = max(0, int(self._until - time.monotonic()))
        last = self.failures[-1]["text"] if self.failures else ""
        return f"{self._in_a_row} infrastructure failures in a row, next self-check in {left} s; last: {last}"
