"""`engine status` and `engine drain`: what the worker of this host does, and asking it to take nothing new."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from engine.cli import options

if TYPE_CHECKING:
    from engine.worker.state import StateDirectory

TURNS, MAX_CHECK_IN = 2, 60
"""A turn of the loop comes every `sleeptime` seconds, and never later than MAX_CHECK_IN after the last one."""

_workdir = click.option("--workdir", metavar="DIR", help="The worker's hub.workdir, instead of --config.")


def _state(config: str | None, kojid_conf: str | None, workdir: str | None) -> StateDirectory:
    from engine.core.errors import BadInput, Problem
    from engine.settings import load_settings
    from engine.worker.state import StateDirectory

    if workdir is None:
        workdir = load_settings(config, kojid_conf).settings.workdir
    elif not os.path.isdir(workdir):  # a wrong word must not become a drained directory
        raise BadInput([Problem("--workdir", "", f"{workdir}: no such directory", "the worker's hub.workdir is meant")])
    directory = StateDirectory(workdir)
    directory.require_readable()
    return directory


@click.command()
@options.CONFIG
@options.KOJID_CONF
@_workdir
@click.option("--containers", is_flag=True, help="Also ask podman for this worker's containers.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(config: str | None, kojid_conf: str | None, workdir: str | None, containers: bool, form: str) -> int:
    """Say what the worker does, and why it takes no tasks if it does not.

    Exit code 0: it runs and is ready; 4: it is not.
    """
    from engine.core.errors import EXIT_INFRASTRUCTURE, EXIT_OK

    directory = _state(config, kojid_conf, workdir)
    state = directory.read()
    pid = directory.daemon()
    state["running"] = pid is not None
    state.setdefault("pid", pid)
    state["drained"] = directory.drained()
    tasks = state.setdefault("tasks", {})
    for number in list(tasks):
        tasks[number] |= directory.task(int(number))
    if containers and "worker_id" in state:
        state["containers"] = _containers(state["worker_id"], config, kojid_conf)
    reason = _why_stuck(state, time.time())
    if pid is not None and reason:
        state["ready"], state["reason"] = False, reason
    if form == "json":
        click.echo(json.dumps(state, indent=2))
    else:
        for line in _lines(state, time.time()):
            click.echo(line)
    return EXIT_OK if pid is not None and state.get("ready") else EXIT_INFRASTRUCTURE


def _why_stuck(state: Mapping[str, Any], now: float) -> str:
    """Why a worker that called itself ready does nothing now; "" when it gets on."""
    if state.get("hub_away_since"):
        return "the hub does not answer"
    silent = now - state.get("turn", now)
    if silent > TURNS * state.get("sleeptime", 0) + MAX_CHECK_IN:
        return f"it has not asked the hub for tasks for {_seconds(silent)}: a call hangs, or the process is stopped"
    return ""


def _containers(worker_id: str, config: str | None, kojid_conf: str | None) -> list[dict[str, str]]:
    """Name, state and task of every container with this worker's label."""
    from engine.adapters.podman import PodmanConfig, PodmanManager
    from engine.core.spec import LABEL_TASK_ID, LABEL_WORKER_ID
    from engine.settings import load_settings

    socket = load_settings(config, kojid_conf).worker.podman
    with PodmanManager(PodmanConfig(worker_id=worker_id, socket=socket)) as manager:
        found = manager.containers({LABEL_WORKER_ID: worker_id})
    return [{"name": one.name, "state": one.state, "task": one.labels.get(LABEL_TASK_ID, "")} for one in found]


def _lines(state: Mapping[str, Any], now: float) -> Iterator[str]:
    if not state["running"]:
        yield "worker    not running" + (f" (last seen {_ago(now, state['written'])})" if "written" in state else "")
        if state["drained"]:
            yield f"drained   {state['drained']}"
        return
    if "ready" not in state:
        yield f"worker    {state.get('worker_id', '(no name yet)')}, pid {state['pid']}, starting"
        return
    yield f"worker    {state['worker_id']}, pid {state['pid']}, up {_seconds(now - state['started'])}"
    yield f"hub       {state['hub']}, host id {state['host_id']}, checked in {_ago(now, state['last_check_in'])}"
    if state["hub_away_since"]:
        yield f"          the hub has not answered for {_seconds(now - state['hub_away_since'])}"
    yield f"state     {'ready' if state['ready'] else 'not ready: ' + (state['reason'] or 'the hub was not asked yet')}"
    yield f"recipes   {', '.join(sorted(state['recipes'])) or 'none'}"
    for problem in state["problems"]:
        yield f"broken    {problem}"
    for number, task in state["tasks"].items():
        since = _seconds(now - task["since"]) if task.get("since") else "?"
        yield f"task      {number} {task.get('method', '')}, {since}, {task.get('phase', 'starting')}"
    for one in state.get("containers", ()):
        yield f"container {one['name']} {one['state']}, task {one['task']}"
    for failure in state["failures"][-5:]:
        yield f"failure   {_ago(now, failure['time'])}, task {failure['task']}: {failure['text']}"


def _ago(now: float, then: float) -> str:
    return f"{_seconds(now - then)} ago" if then else "never"


def _seconds(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@click.command()
@options.CONFIG
@options.KOJID_CONF
@_workdir
@click.option("--reason", default="", help="Shown by `engine status`.")
@click.option("--undo", is_flag=True, help="Take tasks again.")
@click.option("--wait", is_flag=True, help="Return when no task runs any more.")
def drain(config: str | None, kojid_conf: str | None, workdir: str | None, reason: str, undo: bool, wait: bool) -> None:
    """Have the worker take no new tasks and finish the running ones; it stays so over restarts, until --undo."""
    directory = _state(config, kojid_conf, workdir)
    asked = time.time()
    if undo:
        click.echo("takes tasks again" if directory.undrain() else "was not drained")
    else:
        directory.drain(reason)
    pid = directory.daemon()
    if pid is None:
        click.echo("no worker runs here now", err=True)
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCHLD)  # wakes it, nothing else
    while wait and not undo and directory.daemon() == pid and not _at_rest(directory.read(), asked):
        time.sleep(0.2)


def _at_rest(state: Mapping[str, Any], since: float) -> bool:
    """True when a state written after `since` has no tasks: one written before may not know of the last taken."""
    return bool(state.get("turn", 0.0) > since and not state.get("tasks"))
