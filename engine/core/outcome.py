"""What happened to a task, as plain data: `TaskOutcome` is what `result.json` holds.

Keys of `result.json` are the field names here; times are seconds, sizes bytes. A key, once shipped, keeps its
meaning; readers must accept new ones. `format` says which set this is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import field, frozen

from engine.core.errors import EXIT_INFRASTRUCTURE, EXIT_OK, EXIT_PACKAGE
from engine.core.recipe import Fault
from engine.core.snapshots import BuildrootReport

RESULT_FORMAT = 1

Status = Literal["done", "failed"]


@frozen(kw_only=True)
class ImageUsed:
    """An image as it was when the task ran: `name` as asked for, podman's `id`, `digest` or ""."""

    name: str
    id: str = ""
    digest: str = ""


@frozen(kw_only=True)
class InputUsed:
    """An input as it was staged: `name` of the recipe's input, where it came from, its content's sha256."""

    name: str
    source: str
    bytes: int
    sha256: str


@frozen(kw_only=True)
class StepRun:
    """One run of one step; a step that went another round (`again`) appears once for each `round`, from 1.

    `again`: its exit code asked for another round, which is no failure. `exit_code` is None when the container
    never ran. `seconds` is wall time of the container.
    """

    name: str
    round: int = 1
    ok: bool = False
    again: bool = False
    exit_code: int | None = None
    signal: int | None = None
    oom: bool = False
    timed_out: bool = False
    seconds: float = 0.0
    log: str = ""


@frozen(kw_only=True)
class LogFile:
    """A log: `name` as in the recipe, size in bytes. `cut`: it outgrew the plan's `log_bytes` and ends early."""

    name: str
    bytes: int
    cut: bool = False


@frozen(kw_only=True)
class ArtifactFile:
    """A collected file.

    `name` is its base name, unique in the task (the hub stores flat); `source` its path below the workspace;
    `path` where it lies in a results directory.
    """

    name: str
    source: str
    path: str
    bytes: int


@frozen(kw_only=True)
class ArtifactSet:
    """The files of one `[[artifacts]]` table, sorted by path."""

    name: str
    upload: bool = True
    files: tuple[ArtifactFile, ...] = ()


@frozen(kw_only=True)
class Failure:
    """Why a task failed. `fault` names whose fault it is: a Koji fault class, or ``infrastructure``.

    `message` is what the hub and the packager read; `step` and `log` say where to look, "" when nothing ran.
    `retry` True: the same task may succeed later on this host without anyone changing anything.
    """

    fault: Fault
    message: str
    step: str = ""
    log: str = ""
    retry: bool = False

    @property
    def exit_code(self) -> int:
        """Process exit code of `engine run` (engine.core.errors)."""
        return EXIT_INFRASTRUCTURE if self.fault == "infrastructure" else EXIT_PACKAGE


@frozen(kw_only=True)
class TaskOutcome:
    """The end of a task: either `failure` is set, or `result` is the value the hub would get.

    `started` is seconds since the epoch; `seconds` is wall time, the making of the root included.
    `workspace` is the directory that was kept (`engine run --keep`), else None. `notes` are sentences about
    things that a person may want to know and that changed nothing (a link that was not collected). `buildroot` is
    None when the task has no root of a repo's packages.
    """

    format: int = RESULT_FORMAT
    status: Status
    method: str
    task_id: int
    worker_id: str
    plan: str
    started: float
    seconds: float = 0.0
    images: tuple[ImageUsed, ...] = ()
    buildroot: BuildrootReport | None = None
    inputs: tuple[InputUsed, ...] = ()
    steps: tuple[StepRun, ...] = ()
    artifacts: tuple[ArtifactSet, ...] = ()
    logs: tuple[LogFile, ...] = ()
    result: Any = None
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
    workspace: str | None = None

    @property
    def exit_code(self) -> int:
        """Process exit code of `engine run`."""
        return self.failure.exit_code if self.failure else EXIT_OK

    def data(self) -> dict[str, Any]:
        """The outcome as JSON-like data, every key present."""
        return attrs.asdict(self, value_serializer=_plain)


def _plain(_owner: type, _field: object, value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value


@frozen(kw_only=True)
class DiskSpace:
    """Room left on one file system: `path` names it, `bytes` and `inodes` are what this process may use."""

    path: str
    bytes: int
    inodes: int = field(default=1 << 30)

    @property
    def full(self) -> bool:
        """True when not even a small file can be written."""
        return self.bytes < FULL_BELOW or self.inodes < 1


FULL_BELOW = 256 * 1024
"""A file system with less room than this counts as full: tools leave a few blocks behind when they fail."""
