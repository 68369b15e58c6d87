"""``replay.sh``: the failed step again, exactly as podman was told. Pure."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator

from engine.core.outcome import TaskOutcome
from engine.core.plan import Plan
from engine.core.podman_form import shell_text


def replay_script(plan: Plan, outcome: TaskOutcome, command: str) -> str:
    """The script for a failed task, "" for one that did well or failed before any step ran.

    It runs the step in the workspace and root that `command` (the same run with ``--keep``) leaves behind.
    """
    failure = outcome.failure
    step = next((step for step in plan.steps if failure and step.name == failure.step), None)
    if step is None:
        return ""
    return "\n".join(_lines(plan, step.name, command)) + "\n"


def _lines(plan: Plan, name: str, command: str) -> Iterator[str]:
    step = next(step for step in plan.steps if step.name == name)
    workspace = shlex.quote(plan.workspace.host)
    yield "#!/bin/sh"
    yield f"# Step {name} of {plan.method}, as podman was told. Plan {plan.digest}"
    yield "# It needs the workspace and the root that this leaves behind:"
    yield from (f"#   {line}" for line in command.splitlines())  # a word of it may hold newlines
    workdir = shlex.quote(posixpath.dirname(plan.workspace.host))
    yield f"# For a shell in the same sandbox: engine shell {plan.task_id} --step {name} --workdir {workdir}"
    yield "set -eu"
    yield f"if ! [ -d {workspace}/in ]; then"
    yield f"    printf '%s\\n' {shlex.quote('first run: ' + command)} >&2"
    yield "    exit 2"
    yield "fi"
    yield "unset CONTAINER_HOST CONTAINER_CONNECTION  # a remote client lacks half of these options"
    yield shell_text(step.container)
