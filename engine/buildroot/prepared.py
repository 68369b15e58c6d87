"""The root of one task, ready; and what snapshots may cost."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from attrs import frozen

from engine.buildroot.make import MadeRoot
from engine.buildroot.rooted import RootedManager
from engine.buildroot.state import Lock
from engine.core.facts import BuildrootLimits, Facts
from engine.core.manager import ContainerManager
from engine.core.mounts import parse_size
from engine.core.snapshots import BuildrootReport

GB = 1024**3


@frozen(kw_only=True)
class SnapshotLimits:
    """What snapshots may cost. `disk` bytes and `count` of all together, `chain` layers upon a full one.

    `repeats_after`: the root after build requirements gets a snapshot of its own when the same source package is
    built in the same root for the time after this many; 0 switches this second level off. `repeats` bounds them.
    """

    disk: int = 20 * GB
    count: int = 60
    chain: int = 20
    repeats_after: int = 1
    repeats: int = 20

    @classmethod
    def of(cls, said: BuildrootLimits) -> Self:
        """The operator's words as numbers; their shape was checked when they were read."""
        numbers = {name: getattr(said, name) for name in ("count", "chain", "repeats_after", "repeats")}
        return cls(disk=parse_size(said.disk) or 0, **numbers)


def never() -> bool:
    return False


def quiet(_text: str) -> None:
    """Nobody is told."""


def no_output(_data: bytes) -> None:
    """Nobody reads it."""


class Prepared:
    """The root of one task. Use as a context manager around render and run; leaving it lets go of the snapshot."""

    def __init__(self, facts: Facts, manager: ContainerManager, report: BuildrootReport | None = None) -> None:
        self.facts, self.report = facts, report
        self.manager: ContainerManager = manager
        self.lease: Lock | None = None
        self.made: MadeRoot | None = None
        self.remember: Callable[[], None] = lambda: None
        self.note: Callable[[str], None] = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def succeeded(self) -> None:
        """The task is done and well: what it required is worth remembering."""
        self.remember()

    def close(self) -> None:
        """Let go of the snapshot; wait until the one being stored is stored; remove a root nobody took."""
        made, self.made = self.made, None
        try:
            taken = isinstance(self.manager, RootedManager) and self.manager.taken
            if made is not None and made.anchor is not None and not taken:
                self.manager.remove(made.anchor)
            if made is not None and made.storing is not None:
                if made.storing.thread.is_alive():
                    self.note("storing the root's snapshot for the next task")
                made.storing.wait()
                if made.storing.trouble:
                    self.note(f"the snapshot was not stored: {made.storing.trouble}")
        finally:
            if self.lease is not None:
                self.lease.release()
