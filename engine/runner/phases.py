"""The log of what was going on and when: the engine's own phases, and those that steps wrote down themselves."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

from engine.core.excerpt import clean
from engine.core.plan import PlannedStep
from engine.runner.ports import StepLog, WorkspaceFiles

MOST = 256 * 1024
"""Bytes that one step may add."""
_LINE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - [ -~]{1,300}")


def line(text: str) -> bytes:
    """`text` as a line with the time in UTC, in the form of mock's ``state.log``."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now))
    return f"{stamp},{int(now * 1000) % 1000:03d} - {clean(text)}\n".encode()


def step_title(step: PlannedStep, round_: int) -> str:
    """``build, round 2 (building)``."""
    again = f", round {round_}" if round_ > 1 else ""
    return step.name + again + (f" ({step.summary})" if step.summary else "")


class Phases:
    """The phases of one task, in the log `name` of its workspace; nothing at all when `name` is "".

    The log gets into `logs` when it is begun. It is the engine's: steps write to a file of the same name in
    ``result/``, whose lines `take_over` adds; what is no line of that form is left out.
    """

    def __init__(self, name: str, workspace: WorkspaceFiles, limit: int, logs: MutableMapping[str, StepLog]) -> None:
        self.name, self.workspace, self.limit, self.logs = name, workspace, limit, logs
        self._taken = 0

    def say(self, text: str) -> None:
        """Add a line."""
        self._write(line(text))

    @contextmanager
    def during(self, text: str) -> Iterator[None]:
        """``Start: TEXT`` now, ``Finish: TEXT`` at the end."""
        self.say(f"Start: {text}")
        try:
            yield
        except BaseException:
            self.say(f"Finish: {text}, failed")
            raise
        self.say(f"Finish: {text}")

    def take_over(self) -> None:
        """Add what steps have written since the last time."""
        if not self.name:
            return
        data = self.workspace.read(f"result/{self.name}", self._taken, MOST)
        self._taken += len(data)
        lines = [found + b"\n" for found in data.split(b"\n") if _LINE.fullmatch(found)]
        if lines:
            self._write(b"".join(lines))

    def _write(self, data: bytes) -> None:
        if not self.name:
            return
        if self.name not in self.logs:
            self.workspace.prepare(["logs"])
            self.logs[self.name] = self.workspace.log(self.name, self.limit)
        self.logs[self.name].write(data)
