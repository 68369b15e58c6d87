"""A plan by hand, and stand-ins for what surrounds the runner: enough to see what it does, and in which order."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, BinaryIO

from attrs import define, field

from engine.adapters.workspace import TaskDirectory
from engine.core.manager import Outcome
from engine.core.outcome import ArtifactSet, ImageUsed, LogFile, StepRun, TaskOutcome
from engine.core.plan import Plan, PlannedFile, PlannedInput, PlannedStep
from engine.core.plan import Workspace as PlannedWorkspace
from engine.core.recipe import Artifact
from engine.core.spec import (
    LABEL_TASK_ID,
    LABEL_WORKER_ID,
    AnchorSpec,
    ContainerSpec,
    ResourceLimits,
    VolumeMount,
)

IMAGE = "localhost/toy:1"
WORKER = "memory"


def labels(task_id: int) -> dict[str, str]:
    return {LABEL_TASK_ID: str(task_id), LABEL_WORKER_ID: WORKER}


def step(directory: TaskDirectory, name: str, **more: Any) -> PlannedStep:
    """A step whose command is its name; keys of ContainerSpec go to the container."""
    own = {key: more.pop(key) for key in ("root", "limits", "argv", "image", "mounts") if key in more}
    container = ContainerSpec(
        name=f"toy-{directory.task_id}-{name}",
        **{
            "image": IMAGE,
            "argv": (name,),
            "labels": labels(directory.task_id),
            "log_path": f"{directory.path}/logs/{name}.ctr",
            "limits": ResourceLimits(memory=1024**3),
            "mounts": (
                VolumeMount(source=f"{directory.path}/result", target="/result", read_only=False),
                VolumeMount(source=f"{directory.path}/in", target="/in"),
            ),
            **own,
        },
    )
    values: dict[str, Any] = {"summary": f"doing {name}", "log": f"{name}.log", "timeout": 60, "fails": "BuildError"}
    return PlannedStep(name=name, container=container, **{**values, **more})


def plan(directory: TaskDirectory, *steps: PlannedStep, anchor: bool = False, **more: Any) -> Plan:
    values: dict[str, Any] = {
        "files": (PlannedFile(path="in/config", content="x\n"),),
        "inputs": (PlannedInput(name="srpm", source="/src/a.src.rpm", path="in/a.src.rpm", local=True),),
        "artifacts": (Artifact(name="rpms", glob=("result/*.rpm",), min=1),),
        "log_bytes": 1_000_000,
    }
    root = AnchorSpec(name=f"toy-{directory.task_id}-root", image=IMAGE, labels=labels(directory.task_id))
    return Plan(
        method="toy",
        recipe="toy.toml",
        task_id=directory.task_id,
        worker_id=WORKER,
        workspace=PlannedWorkspace(host=directory.path, path=f"/work/{directory.task_id}"),
        directories=("in", "logs", "result"),
        anchor=root if anchor else None,
        steps=steps,
        **{**values, **more},
    )


@define
class Source:
    """Inputs from memory; an exception in `trouble` is raised instead."""

    content: bytes = b"srpm"
    trouble: Exception | None = None

    def open(self, planned: PlannedInput) -> BinaryIO:
        if self.trouble is not None:
            raise self.trouble
        return io.BytesIO(self.content)

    def check_tree(self, planned: PlannedInput) -> None:
        if self.trouble is not None:
            raise self.trouble


@define
class Words:
    """A recipe's last words: its message with the cause, and the names of what was collected."""

    def fault_text(self, step: PlannedStep, outcome: Outcome, cause: str) -> str:
        return f"{step.message}: {cause}" if step.message else ""

    def result(self, artifacts: Sequence[ArtifactSet], logs: Sequence[LogFile]) -> Any:
        return {group.name: [file.name for file in group.files] for group in artifacts}


@define
class Store:
    """Takes the results and looks whether the workspace is still there; an exception in `trouble` is raised."""

    outcomes: list[TaskOutcome] = field(factory=list)
    seen: list[str] = field(factory=list)
    logs: dict[str, str] = field(factory=dict)
    trouble: BaseException | None = None

    def deliver(self, outcome: TaskOutcome, workspace: str) -> None:
        from pathlib import Path

        self.seen = sorted(str(path.relative_to(workspace)) for path in Path(workspace).rglob("*") if path.is_file())
        self.logs = {path.name: path.read_text(errors="replace") for path in Path(workspace, "logs").glob("*.log")}
        self.outcomes.append(outcome)
        if self.trouble is not None:
            raise self.trouble


@define
class Told:
    """Progress as a list of words."""

    events: list[str] = field(factory=list)
    notes: list[str] = field(factory=list)
    out: dict[str, bytes] = field(factory=dict)

    def phase(self, text: str) -> None:
        self.events.append(text)

    def image(self, used: ImageUsed) -> None:
        self.events.append(f"image {used.name} {used.id}")

    def step_started(self, step: PlannedStep, number: int, total: int, round_: int) -> None:
        self.events.append(f"{step.name} {number}/{total} round {round_}")

    def output(self, step: PlannedStep, data: bytes) -> None:
        self.out[step.name] = self.out.get(step.name, b"") + data

    def step_ended(self, step: PlannedStep, run: StepRun) -> None:
        self.events.append(f"{step.name} {'ok' if run.ok else 'not ok'}")

    def note(self, text: str) -> None:
        self.notes.append(text)
