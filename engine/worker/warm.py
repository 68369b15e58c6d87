"""Making roots before they are needed: the operator names recipe, tag and architecture, the hub their newest repo."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import koji
from attrs import evolve

from engine.adapters import hub as hub_facts
from engine.adapters.podman import PodmanManager
from engine.buildroot import PodmanSnapshotImages, prepare
from engine.core.errors import BadInput, EngineError, InfrastructureError, Problem
from engine.core.facts import HostFacts, Settings
from engine.core.local import LocalCall, local_task
from engine.core.recipe import Recipe
from engine.worker.options import HubOptions

logger = logging.getLogger(__name__)


def warm(settings: Settings, recipes: Mapping[str, Recipe], hub: HubOptions, manager: PodmanManager) -> None:
    """Make the roots of `buildroots.warm` for the newest READY repo of each tag, unless they are there.

    The hub is only read, without login. What cannot be made is logged, and does not keep the others from it.
    """
    options = {"anon_retry": False, "timeout": 60, "serverca": hub.serverca, "no_ssl_verify": hub.no_ssl_verify}
    session = koji.ClientSession(hub.server, options)
    for entry in settings.buildroots.warm:
        try:
            _warm(session, entry, settings, recipes, manager)
        except (EngineError, koji.GenericError, *hub_facts.NO_ANSWER) as error:
            logger.warning("buildroots.warm: %s: %s", entry, error)


def _warm(
    session: hub_facts.Session, entry: str, settings: Settings, recipes: Mapping[str, Recipe], manager: PodmanManager
) -> None:
    method, tag, arch = entry.split()
    recipe = recipes.get(method)
    if recipe is None or recipe.buildroot is None:
        what = "is served by no recipe" if recipe is None else "has no buildroot"
        raise BadInput([Problem("settings", "buildroots.warm", f"{method} {what}", "name another method")])
    repo = session.getRepo(tag)
    if repo is None:
        raise InfrastructureError(f"tag {tag} has no READY repo")
    # The task that is to come is like this one, save for its inputs, and no root depends on them.
    recipe = evolve(recipe, facts=evolve(recipe.facts, repo=str(int(repo["id"])), build_tag=tag))
    given = {
        param.name: tag if param.type == "tag" else arch for param in recipe.params if param.type in ("tag", "arch")
    }
    absent = tuple(f"/{name}" for name in recipe.local.args)
    call = LocalCall(method=method, inputs=absent, params=given)
    request, local = local_task(recipe, call, settings=settings, host=HostFacts(), task_id=0)
    gathered = hub_facts.gather(session, recipe, request, settings).facts
    facts = evolve(gathered, inputs=local.inputs)
    images = PodmanSnapshotImages(manager.service)
    with prepare(recipe, request, facts, manager, images, give_away=False, counted=False) as root:
        if root.report is not None and root.report.decision != "hit":
            logger.info("buildroots.warm: %s: repo %s: %s", entry, repo["id"], root.report.reason)
