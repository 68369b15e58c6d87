"""A plan as a shell script for people: everything that is made and every podman invocation, ready to paste.

The golden files hold this text (docs/adr/0003): one option a line, so that a change is a one-line diff.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from engine.core.plan import Plan, PlannedFile, PlannedInput, PlannedStep
from engine.core.podman_form import shell_text

READ_ONLY_PARTS = frozenset({"in", "logs"})


def plan_text(plan: Plan) -> str:
    """The script, ending in a newline. Comments say what no podman option shows."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"# {plan.method}, task {plan.task_id}, {plan.recipe}"
    yield f"# plan {plan.digest}"
    yield ""
    host = shlex.quote(plan.workspace.host)
    yield f"mkdir -p {host}"
    yield f"cd {host}"
    yield "mkdir -p " + " ".join(map(shlex.quote, plan.directories))
    writable = [path for path in plan.directories if path.split("/")[0] not in READ_ONLY_PARTS]
    yield "chmod 0777 " + " ".join(map(shlex.quote, writable))
    for item in plan.inputs:
        yield _input(item)
    for file in plan.files:
        yield from _file(file)
    if plan.anchor is not None:
        yield ""
        yield "# the task's root file system: created, never started"
        yield shell_text(plan.anchor)
    for number, step in enumerate(plan.steps, start=1):
        yield ""
        yield from _step(number, step)
    yield ""
    if plan.phases:
        yield f"# phases and times in {plan.phases}, with the lines that steps append to result/{plan.phases}"
    for artifact in plan.artifacts:
        most = "" if artifact.max is None else f", at most {artifact.max}"
        without = f" without {' '.join(artifact.exclude)}" if artifact.exclude else ""
        kept = "" if artifact.upload else ", not uploaded"
        kept += ", also when the task failed" if artifact.always else ""
        yield f"# collect {artifact.name}: {' '.join(artifact.glob)}{without}, at least {artifact.min}{most}{kept}"


def _input(item: PlannedInput) -> str:
    if not item.path:
        return f"# input {item.name}: the tree {item.source}, mounted"
    source = item.source if item.local else f"work/{item.source}"
    copy = f"cp -- {shlex.quote(source)} {shlex.quote(item.path)}"
    return copy if item.local else f"# input {item.name}, from the hub: {copy}"


def _file(file: PlannedFile) -> Iterator[str]:
    mark = "END"
    while mark in file.content.splitlines():
        mark += "_"
    directory = file.path.rpartition("/")[0]
    if directory not in READ_ONLY_PARTS:
        yield f"mkdir -p {shlex.quote(directory)}"
    yield f"cat > {shlex.quote(file.path)} <<'{mark}'"
    if file.content:
        yield file.content.removesuffix("\n")
    yield mark
    if file.mode != "0644":
        yield f"chmod {file.mode} {shlex.quote(file.path)}"


def _step(number: int, step: PlannedStep) -> Iterator[str]:
    words = " ".join(step.summary.split())  # of a task's words none may leave the comment, or move the cursor
    summary = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words)
    yield f"# step {number}, {step.name}" + (f": {summary}" if summary else "")
    exits = "".join(f", exit {code} {fault}" for code, fault in step.exits.items())
    yield f"# log {step.log}, timeout {step.timeout} s, fails as {step.fails}{exits}"
    if step.echo:
        yield "# the log begins with the command"
    if step.standby:
        yield "# passed over until a later step asks for it"
    if step.when_file is not None:
        yield f"# passed over unless there is a file {step.when_file}"
    if step.again is not None:
        again = step.again
        yield f"# exit {again.exit}: again from {again.step}, at most {again.max} rounds"
    yield shell_text(step.container)
