"""`engine shell`: a shell in what `engine run --keep` left, in the sandbox of one of its steps."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from engine.adapters.podman import PodmanManager
    from engine.adapters.workspace import KeptTask, Workdir
    from engine.core.facts import Settings
    from engine.core.plan import Plan, PlannedStep

SHELL = ("/bin/sh", "-c", "command -v bash >/dev/null && exec bash --login; exec sh")


@click.command()
@click.argument("task_id", type=int, required=False)
@click.option("--step", "step_name", metavar="NAME", help="Whose sandbox; default: the last step that ran.")
@click.option("--list", "listing", is_flag=True, help="List what is kept.")
@click.option("--remove", "removing", type=int, multiple=True, metavar="ID", help="Remove a kept task; repeatable.")
@click.option("--remove-all", is_flag=True, help="Remove every kept task.")
@click.option("--workdir", metavar="DIR", help="As given to engine run.")
@click.option("--config", metavar="FILE", help="As given to engine run.")
def shell(
    task_id: int | None,
    step_name: str | None,
    listing: bool,
    removing: tuple[int, ...],
    remove_all: bool,
    workdir: str | None,
    config: str | None,
) -> int:
    """Open a shell in the kept root of TASK_ID: same user, mounts, network and capabilities as the step had.

    Commands may also come from standard input: echo 'rpm -qa' | engine shell 3.
    """
    from engine.adapters.workspace import Workdir
    from engine.cli.local import check_workdir, local_settings

    check_workdir(workdir)
    settings = local_settings(config, workdir=workdir)
    place = Workdir(settings.workdir)
    kept = place.kept()
    if listing:
        _list(kept)
        return 0
    if removing or remove_all:
        for number in removing or tuple(kept):
            _known(kept, number, settings.workdir)
        _remove(settings, place, removing or tuple(kept))
        return 0
    if task_id is None:
        raise click.UsageError("Missing TASK_ID; --list shows what is kept.")
    task = _known(kept, task_id, settings.workdir)
    return _open(settings, task, step_name)


def _known(kept: dict[int, KeptTask], number: int, workdir: str) -> KeptTask:
    from engine.core.errors import BadInput, Problem

    if number not in kept:
        there = ", ".join(map(str, kept)) or "none"
        raise BadInput([Problem(workdir, "", f"task {number} is not kept here", f"kept: {there}; --workdir?")])
    return kept[number]


def _list(kept: dict[int, KeptTask]) -> None:
    for number, task in kept.items():
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(task.since))
        method = task.plan.method if task.plan else "?"
        click.echo(f"{number:>5}  {since}  {method}  step {task.step or '-'}  {task.path}")


def _remove(settings: Settings, place: Workdir, numbers: tuple[int, ...]) -> None:
    from engine.core.errors import InfrastructureError
    from engine.runner.leftovers import remove_task

    with _manager(settings) as manager:
        for number in numbers:
            directory = place.open(number)
            if directory is None:
                raise InfrastructureError(f"task {number} is in use by another process")
            remove_task(directory, settings.worker_id, manager)
            click.echo(f"removed task {number}")


def _manager(settings: Settings) -> PodmanManager:
    from engine.adapters.podman import PodmanConfig, PodmanManager

    return PodmanManager(PodmanConfig(worker_id=settings.worker_id, timeouts=settings.adjutant_container_timeouts))


def _open(settings: Settings, task: KeptTask, step_name: str | None) -> int:
    from engine.core.errors import InfrastructureError
    from engine.core.podman_form import anchors_of

    if task.plan is None:
        raise InfrastructureError(f"{task.path}: its plan cannot be read; engine shell --remove removes the task")
    step = _step(task.plan, step_name or task.step)
    with _manager(settings) as manager:
        roots = {name: manager.anchor_path(name) for name in anchors_of(step.container)}
    click.echo(f"task {task.plan.task_id}, sandbox of step {step.name}; the step ran:", err=True)
    click.echo("  " + " ".join(step.container.argv), err=True)
    return subprocess.call(shell_command(step, roots, tty=sys.stdin.isatty()), env=local_environ())


def local_environ() -> dict[str, str]:
    """The environment without what makes podman a remote client: that one lacks half of the options."""
    return {key: value for key, value in os.environ.items() if key not in {"CONTAINER_HOST", "CONTAINER_CONNECTION"}}


def _step(plan: Plan, name: str) -> PlannedStep:
    from engine.core.errors import BadInput, Problem, did_you_mean

    steps = {step.name: step for step in plan.steps}
    if not name:
        return plan.steps[-1]
    if name not in steps:
        raise BadInput(
            [Problem("--step", "", f"task {plan.task_id} has no step '{name}'", did_you_mean(name, [*steps]))]
        )
    return steps[name]


def shell_command(step: PlannedStep, roots: dict[str, str], *, tty: bool) -> list[str]:
    """The podman command that opens a shell where `step` ran; `roots` are the paths of mounted anchors."""
    import attrs

    from engine.core.podman_form import command

    name = f"{step.container.name}-shell-{os.getpid()}"  # two may be open at once
    spec = attrs.evolve(step.container, name=name, argv=SHELL, log_path=None)
    podman, _create, *words = command(spec, roots)
    return [podman, "run", "--rm", "--interactive", *(["--tty"] if tty else []), *words]
