"""What running a plan needs from outside, as protocols; adapters have these shapes without knowing of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, Protocol

from engine.core.manager import Outcome
from engine.core.outcome import ArtifactSet, DiskSpace, ImageUsed, LogFile, StepRun, TaskOutcome
from engine.core.plan import Plan, PlannedInput, PlannedStep
from engine.core.recipe import Artifact
from engine.core.results import FoundFile


class StepLog(Protocol):
    """A log on the host. `write` never raises: it sets `cut` or `trouble`."""

    @property
    def size(self) -> int:
        """Bytes so far."""

    @property
    def room(self) -> int:
        """Bytes that still fit below the limit."""

    @property
    def cut(self) -> bool:
        """True once something did not fit."""

    @property
    def trouble(self) -> OSError | None:
        """Why the disk refused, if it did."""

    def write(self, data: bytes) -> None:
        """Add `data`."""

    def end_early(self) -> None:
        """Say in the log that what follows is missing."""

    def tail(self) -> str:
        """The end of the log as text."""


class WorkspaceFiles(Protocol):
    """A task's directory on this host. Failures are `InfrastructureError` naming the path."""

    @property
    def path(self) -> str:
        """Absolute host path, the plan's `workspace.host`."""

    def record(self, plan: Plan) -> None:
        """Write down what runs here: for whoever finds it after this process died, or was told to keep it."""

    def prepare(self, directories: Iterable[str]) -> None:
        """Make directories below it."""

    def write(self, path: str, chunks: Iterable[bytes], mode: int = 0o644) -> tuple[int, str]:
        """Write a new file; its size and sha256. What `chunks` raises passes through."""

    def read(self, path: str, start: int, most: int) -> bytes:
        """Bytes of a file that steps wrote; none when it is not there, no regular file, or not readable."""

    def log(self, name: str, limit: int) -> StepLog:
        """The log of that name, opened to be added to."""

    def forget(self, path: str) -> None:
        """Remove podman's own log file, given by its host path."""

    def scan(self, artifacts: Iterable[Artifact]) -> list[FoundFile]:
        """Every file that could be an artifact."""

    def watch(self, path: str) -> None:
        """Count the file system of `path` among `disks` too, if this user can look at it."""

    def disks(self) -> tuple[DiskSpace, ...]:
        """Room on the file systems that the steps write to."""

    def keep(self, step: str) -> None:
        """Leave it for whoever wants to look at it, and let go of it; `step` is the one to look at."""

    def remove(self, scrub: Callable[[], None] | None = None) -> None:
        """Remove it; `scrub` removes what containers wrote where this user may not."""


class InputSource(Protocol):
    """Where inputs come from: files of this host, or the hub's storage."""

    def open(self, planned: PlannedInput) -> BinaryIO:
        """The content of a file input, to be read and closed.

        `BadInput` when a file the user named is not there, `TaskFailed` when the hub has no such file,
        `InfrastructureError` when it cannot be had just now.
        """

    def check_tree(self, planned: PlannedInput) -> None:
        """Raise as `open` does unless the directory is there."""


class Closing(Protocol):
    """The recipe's last words, which need what happened: fault texts and the result value."""

    def fault_text(self, step: PlannedStep, outcome: Outcome, cause: str) -> str:
        """The step's own message, "" when it has none; `cause` says in words how it ended."""

    def result(self, artifacts: Sequence[ArtifactSet], logs: Sequence[LogFile]) -> Any:
        """The task's result."""


class Progress(Protocol):
    """Told what is going on. Must not raise; `output` may come from another thread."""

    def phase(self, text: str) -> None:
        """Something other than a step has begun: ``pulling registry/image``."""

    def image(self, used: ImageUsed) -> None:
        """An image that the task uses is there."""

    def step_started(self, step: PlannedStep, number: int, total: int, round_: int) -> None:
        """Step `number` of `total` has begun; `round_` counts from 1."""

    def output(self, step: PlannedStep, data: bytes) -> None:
        """The step printed `data`."""

    def step_ended(self, step: PlannedStep, run: StepRun) -> None:
        """The step has ended."""

    def note(self, text: str) -> None:
        """Something a person may want to know."""


class Delivery(Protocol):
    """Takes the results while the workspace still exists."""

    def deliver(self, outcome: TaskOutcome, workspace: str) -> None:
        """Store artifacts, logs and the outcome; `workspace` is the path of the task's directory.

        Also called for a failed task, whose artifacts are those wanted in any case. No container of the task runs any
        more.
        """


class Silent:
    """Progress for nobody."""

    def phase(self, text: str) -> None: ...
    def image(self, used: ImageUsed) -> None: ...
    def step_started(self, step: PlannedStep, number: int, total: int, round_: int) -> None: ...
    def output(self, step: PlannedStep, data: bytes) -> None: ...
    def step_ended(self, step: PlannedStep, run: StepRun) -> None: ...
    def note(self, text: str) -> None: ...
