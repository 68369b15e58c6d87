"""What a worker would do with the tasks a hub has, without logging in: nothing is taken, nothing is locked."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

import koji
import koji.tasks

from engine.adapters import hub as hub_facts
from engine.adapters import probes
from engine.core import render as core
from engine.core.errors import BadInput, EngineError, InfrastructureError, Problem, root_cause
from engine.core.facts import Facts, Settings, TaskRequest
from engine.core.recipe import Recipe
from engine.worker.options import HubOptions
from engine.worker.recipes import ServedRecipes
from engine.worker.session import unreadable

WAITING = ("FREE", "ASSIGNED")
LIBRARY = frozenset(method for found in vars(koji.tasks).values() for method in getattr(found, "Methods", ()))
"""Task types that koji's own library brings, as `koji.daemon.TaskManager.findHandlers` takes them."""


def dry_run(hub: HubOptions, settings: Settings, served: ServedRecipes, host: str | None) -> Iterator[str]:
    """One line for each task of the hub that this host could be given: what would become of it."""
    if not hub.server:
        raise BadInput([Problem("settings", "hub.server", "is missing", "name the hub's address")])
    if problems := [*unreadable("hub.serverca", hub.serverca)]:
        raise BadInput(problems)
    served.load()
    options = {"anon_retry": False, "timeout": 60, "serverca": hub.serverca, "no_ssl_verify": hub.no_ssl_verify}
    session = koji.ClientSession(hub.server, options)
    name = host or hub.user or socket.getfqdn()
    try:
        row = session.getHost(name)
        if row is None:
            cure = "name it with --host"
            raise BadInput([Problem(hub.server, "host", f"the hub knows no host '{name}'", cure)])
        state = "enabled" if row["enabled"] else "disabled"
        yield f"host {row['name']}: {state}, arches {row['arches']}, capacity {row['capacity']}"
        yield from _tasks(session, row, settings, served)
    except (*hub_facts.NO_ANSWER, koji.GenericError) as error:
        said = str(error) if isinstance(error, koji.GenericError) else root_cause(error)
        raise InfrastructureError(f"hub {hub.server}: {hub_facts.no_hub(error) or said}") from None


def _tasks(session: Any, host: Mapping[str, Any], settings: Settings, served: ServedRecipes) -> Iterator[str]:
    arches = {*(host["arches"] or "").split(), "noarch"}
    channels = {row["id"] for row in session.listChannels(hostID=host["id"])}
    states = [koji.TASK_STATES[state] for state in WAITING]
    for task in session.listTasks({"state": states}, {"order": "priority,create_time"}):
        elsewhere = task["host_id"] not in {None, host["id"]}
        if elsewhere or task["arch"] not in arches or task["channel_id"] not in channels:
            continue
        state = koji.TASK_STATES[task["state"]]
        fate = _fate(session, task, host, settings, served)
        yield f"task {task['id']} {task['method']} ({task['arch']}, {state}): {fate}"


def _fate(
    session: Any, task: Mapping[str, Any], host: Mapping[str, Any], settings: Settings, served: ServedRecipes
) -> str:
    recipe = served.recipes.get(task["method"])
    if recipe is None:
        known = task["method"] in LIBRARY
        return "would be taken: koji's own task type" if known else "refused: no recipe for this method"
    try:
        info = session.getTaskInfo(task["id"], request=True)
        request = hub_facts.task_request(recipe, info, info["request"])
        if not hub_facts.fits_host(session, recipe, request, settings, host.get("arches") or ""):
            return "refused: failed host check"
        return _plan(session, recipe, request, settings, host.get("arches") or "")
    except (EngineError, koji.GenericError) as error:  # of this task: the others are shown all the same
        return f"{type(error).__name__}: {error}"


def _plan(session: Any, recipe: Recipe, request: TaskRequest, settings: Settings, arches: str) -> str:
    facts: Facts = hub_facts.gather(session, recipe, request, settings, host_arches=arches).facts
    if recipe.probes:
        from attrs import evolve

        facts = evolve(facts, probes=probes.answers(core.probe_paths(recipe, request, facts)))
    plan = core.render(recipe, request, facts)
    return f"would be taken: {len(plan.steps)} steps ({', '.join(s.name for s in plan.steps)}), plan {plan.digest}"
