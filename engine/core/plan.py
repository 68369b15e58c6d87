"""The plan: everything that will happen, in order, as plain data; with one digest (design.md sections 3, 10.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import field, frozen

from engine.core.fields import doc
from engine.core.recipe import Again, Artifact, Fault
from engine.core.spec import AnchorSpec, ContainerSpec


@frozen(kw_only=True)
class Workspace:
    """`host` is ``<workdir>/<task id>``, `path` ``/work/<task id>`` in the containers.

    Below both: ``in/`` (inputs and files, read-only for the containers), ``result/`` and whatever the
    recipe mounts besides. ``logs/`` exists on the host only: a container that could write there could put a
    link where conmon, as the host's user, opens the next step's log.
    """

    host: str = doc("Directory on the host; only parts of it may be mounted.")
    path: str = doc("The same in the containers.")


@frozen(kw_only=True)
class PlannedFile:
    """A file to write: `path` relative to the workspace (``in/build.repo``), octal `mode` text."""

    path: str
    content: str
    mode: str = "0644"


@frozen(kw_only=True)
class PlannedInput:
    """An input: copied from `source` to workspace-relative `path`; for a tree `path` is "" (mounted).

    `local` True: `source` is a path of this host given by the user; else relative to the hub's ``work/``.
    """

    name: str
    source: str
    path: str
    local: bool = False


@frozen(kw_only=True)
class PlannedStep:
    """One container with what its exit means. `timeout` in seconds; `message` the fault text template.

    `standby` True: passed over until a later step's `again` leads to it; `when_file`: unless a file matches.
    `echo` True: its log begins with the command.
    """

    name: str
    summary: str
    container: ContainerSpec
    log: str
    timeout: int
    again: Again | None = None
    standby: bool = False
    when_file: str | None = None
    echo: bool = False
    fails: Fault = "GenericError"
    exits: Mapping[str, Fault] = field(factory=dict)
    message: str = ""


@frozen(kw_only=True)
class Plan:
    """A rendered task.

    `recipe` is the recipe's file name, without the directory that differs from host to host; `directories` are
    workspace-relative and made before the first step. `phases` names the log of what was done when, "": none.
    """

    method: str
    recipe: str
    task_id: int
    worker_id: str
    workspace: Workspace
    directories: tuple[str, ...]
    files: tuple[PlannedFile, ...]
    inputs: tuple[PlannedInput, ...]
    anchor: AnchorSpec | None
    steps: tuple[PlannedStep, ...]
    artifacts: tuple[Artifact, ...]
    log_bytes: int
    phases: str = ""

    def data(self) -> dict[str, Any]:
        """The plan as JSON-like data, None values included, stable key order."""
        return attrs.asdict(self, value_serializer=_plain)

    @property
    def digest(self) -> str:
        """``sha256:…`` over the plan's canonical JSON: equal plans, equal digests, on any machine."""
        text = json.dumps(self.data(), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _plain(_owner: type, _field: object, value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    return value
