"""The hub's answers as facts: everything about a task that a render needs, by calls that change nothing.

`gather` works with any session (the worker's, or one without login); `fetch_request` opens one without login, for
`engine render --task ID` and `engine run --task ID`. Everything about a tag is read at the event of the task's
repo (contract 5.2), the tag's `extra` becomes macros and environment (5.3), and what of it nothing here
honours is said in `Gathered.notes`.
"""

from __future__ import annotations

import json
import os
import platform
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol
from xml.parsers.expat import ExpatError
from xmlrpc.client import ResponseError

import attrs
import koji
import koji.tasks
import requests
from attrs import evolve, frozen

from engine.adapters.recipes import RecipeDirectory
from engine.adapters.tag_images import TagImages
from engine.adapters.this_host import this_host
from engine.core import templates
from engine.core.errors import BadInput, InfrastructureError, Problem, root_cause
from engine.core.facts import (
    BuildrootFacts,
    ExternalRepo,
    Facts,
    HostFacts,
    NameValue,
    PackageRepo,
    RepoFacts,
    Settings,
    TagFacts,
    TaskRequest,
)
from engine.core.recipe import Recipe
from engine.core.request import check_params

MACRO, ENVIRONMENT, MOCK = "rpm.macro.", "rpm.env.", "mock."
CHROOT_TECHNIQUE = frozenset(
    {
        "mock.new_chroot",
        "mock.use_bootstrap",
        "mock.bootstrap_image",
        "mock.bootstrap_image_ready",
    }
)
"""Keys of a tag about how mock makes a chroot; there is none."""
NO_EFFECT = {
    **dict.fromkeys(CHROOT_TECHNIQUE, "there is no chroot"),
    "mock.forcearch": "dnf is told the architecture in any case",
}
"""What some keys have no effect for."""


NO_ANSWER = (requests.exceptions.RequestException, ExpatError, ResponseError)
"""What a call raises when no hub answered: nobody did, or somebody who speaks no XML-RPC."""


def no_hub(error: Exception) -> str:
    """What is wrong with an answer that is none of a hub; "" for other errors."""
    if not isinstance(error, ExpatError | ResponseError):
        return ""
    return "what answers there speaks no XML-RPC (is it a hub's address, does it end in /kojihub, is a proxy between?)"


class Session(Protocol):
    """What is asked of a hub session: koji.ClientSession, or a session of a test."""

    def __getattr__(self, name: str) -> Any:
        """A hub call by its XML-RPC name."""


@frozen(kw_only=True)
class Gathered:
    """Facts, and what the worker needs besides: notes on what nothing honours, the external repos as rows."""

    facts: Facts
    notes: tuple[str, ...] = ()
    external_rows: tuple[Mapping[str, Any], ...] = ()


def named_params(recipe: Recipe, arguments: list[Any]) -> dict[str, Any]:
    """A task's request by the recipe's names, from either form that hubs send (contract 3.1).

    Raises koji.ParameterError for more positional arguments than the recipe knows, or one given twice.
    """
    if len(arguments) == 1 and isinstance(arguments[0], dict) and "__method__" in arguments[0]:
        return {key: value for key, value in arguments[0].items() if key != "__method__"}
    positional, named = koji.decode_args(*arguments)
    names = [param.name for param in recipe.params]
    if len(positional) > len(names):
        raise koji.ParameterError(f"{recipe.method} takes {len(names)} arguments, got {len(positional)}")
    params = dict(zip(names, positional, strict=False))
    twice = sorted(params.keys() & named.keys())
    if twice:
        raise koji.ParameterError(f"{recipe.method} got {', '.join(twice)} twice")
    return {**params, **named}


def task_request(recipe: Recipe, task: Mapping[str, Any], arguments: list[Any]) -> TaskRequest:
    """The request of a task row (getTaskInfo) with its decoded arguments."""
    return TaskRequest(
        method=recipe.method,
        params=named_params(recipe, arguments),
        task_id=task["id"],
        arch=task.get("arch") or "noarch",
        channel=str(task.get("channel_id") or "default"),
        owner=str(task.get("owner") or ""),
        parent=task.get("parent"),
        label=task.get("label"),
    )


def gather(  # noqa: PLR0913 - each is one source of facts
    session: Session,
    recipe: Recipe,
    request: TaskRequest,
    settings: Settings,
    *,
    host: HostFacts | None = None,
    host_arches: str = "",
    tag_images: TagImages | None = None,
) -> Gathered:
    """Ask the hub what the recipe's `facts` name. koji errors come through as they are.

    `tag_images` remembers what tags say of images; without it the hub is asked. `host_arches` are the hub's words for
    this host (space separated): they decide the architecture of a noarch task. Without them the host's own
    architecture does.
    """
    host = host or this_host()
    asked = _Asked(recipe, request, settings, host)
    repo = _repo(session, asked.value("repo", recipe.facts.repo), settings)
    event = repo.create_event if repo else None
    tag = _tag(session, asked.value("build_tag", recipe.facts.build_tag), event)
    old = _repo(session, asked.value("old_repo", recipe.facts.old_repo), settings)
    arch = _arch(session, asked.arch(), request.arch, host_arches or host.arch, tag)
    rows: tuple[Mapping[str, Any], ...] = ()
    if recipe.facts.external_repos and repo:
        rows = tuple(session.getExternalRepoList(repo.tag_id, event=event) or ())
    extra = tag.extra if tag else {}
    facts = Facts(
        settings=settings,
        host=host,
        repo=repo,
        old_repo=old,
        build_tag=tag,
        tag_image=_tag_image(session, tag, repo, settings, tag_images),
        external_repos=tuple(_external(rows, arch)),
        repos=_package_repos(repo, arch),
        macros=tuple(_prefixed(extra, MACRO)),
        env=tuple(_prefixed(extra, ENVIRONMENT)),
        buildroot=BuildrootFacts(arch=arch) if recipe.buildroot else None,
    )
    return Gathered(facts=facts, notes=tuple(_unhonoured(recipe, extra)), external_rows=rows)


def _tag_image(
    session: Session, tag: TagFacts | None, repo: RepoFacts | None, settings: Settings, known: TagImages | None
) -> str | None:
    """What the task's tag says of the image now; not asked where the operator allows no tag to say it."""
    tag_id = tag.id if tag else repo.tag_id if repo else None
    if tag_id is None or not settings.adjutant_images_allowed:
        return None
    return (known or TagImages(None, 0)).image(session, tag_id)


def asked_tag(session: Session, recipe: Recipe, request: TaskRequest, settings: Settings) -> TagFacts | None:
    """The build tag the recipe asks for, as it is now; None when the request names none."""
    asked = _Asked(recipe, request, settings, HostFacts())
    return _tag(session, asked.value("build_tag", recipe.facts.build_tag), None)


def fits_host(session: Session, recipe: Recipe, request: TaskRequest, settings: Settings, arches: str) -> bool:
    """May a host of these `arches` build for the task's tag (contract 4.0 "tag arches")? Others' tasks: yes."""
    if recipe.buildroot is None or recipe.facts.build_tag is None:
        return True
    try:
        tag = asked_tag(session, recipe, request, settings)
    except (koji.ParameterError, BadInput):
        tag = None
    except koji.GenericError as error:
        if type(error) is not koji.GenericError:  # the hub is away, or the session is not accepted
            raise
        tag = None  # deleted: as it was at the repo's event it may do, and what is refused here no host ever takes
    if tag is None or not tag.arches:
        return True  # it will fail with the right words
    return bool({koji.canonArch(arch) for arch in tag.arches.split()} & set(arches.split()))


def fetch_request(
    hub: str, task_id: int, recipes: RecipeDirectory | None = None, settings: Settings | None = None
) -> tuple[TaskRequest, Facts]:
    """A task of a live hub and its facts, read without credentials. `hub` is an address or a koji profile.

    Raises BadInput when there is no such task, profile or recipe, InfrastructureError when the hub does not answer.
    """
    if recipes is None:
        from engine.adapters.recipes import search_paths

        recipes = RecipeDirectory(search_paths())
    server, topurl = hub_address(hub)
    session = koji.ClientSession(server, {"anon_retry": False, "timeout": 60, **_trusted(hub)})
    settings = settings or Settings()
    if topurl and not settings.topurl:
        settings = evolve(settings, topurl=topurl)
    try:
        task = session.getTaskInfo(task_id, request=True)
        if task is None:
            raise BadInput([Problem(server, f"task {task_id}", "there is no such task")])
        recipe = recipes.get(task["method"])
        request = task_request(recipe, task, task["request"])
        return request, gather(session, recipe, request, settings).facts
    except (*NO_ANSWER, koji.ServerOffline) as error:
        if words := no_hub(error):
            raise InfrastructureError(f"hub {server}: {words}") from None
        why = root_cause(error)
        raise InfrastructureError(f"hub {server} does not answer: {why} (check --hub and the network)") from None
    except koji.GenericError as error:
        raise BadInput([Problem(server, f"task {task_id}", str(error))]) from None


def hub_address(hub: str) -> tuple[str, str]:
    """Address of the XML-RPC service and of the file tree, of an address (no tree known) or a koji profile."""
    if "://" in hub:
        tree = hub.removesuffix("/").removesuffix("kojihub")
        return hub, tree + "kojifiles" if tree != hub.removesuffix("/") else ""
    profile = _profile(hub)
    return profile["server"], profile.get("topurl") or ""


def _trusted(hub: str) -> dict[str, Any]:
    """How a koji profile wants the hub's certificate checked."""
    profile = {} if "://" in hub else _profile(hub)
    return {name: profile[name] for name in ("serverca", "no_ssl_verify") if profile.get(name)}


def _profile(name: str) -> dict[str, Any]:
    try:
        return dict(koji.read_config(name))
    except koji.ConfigurationError as error:
        cure = "give the hub's address, or see ~/.koji/config"
        raise BadInput([Problem("--hub", name, f"no such koji profile: {error}", cure)]) from None


class _Asked:
    """The templates of `[facts]`, rendered with what is known before anything was asked."""

    def __init__(self, recipe: Recipe, request: TaskRequest, settings: Settings, host: HostFacts) -> None:
        params, problems = check_params(recipe.params, request.params)
        if problems:
            raise BadInput(problems)
        self.recipe, self.request, self.params = recipe, request, params
        task = {f.name: getattr(request, f.name) for f in attrs.fields(TaskRequest) if f.name != "params"}
        self.scope = templates.variables(
            {
                "params": params,
                "task": {**task, "id": request.task_id},
                "settings": attrs.asdict(settings),
                "host": attrs.asdict(host),
            }
        )

    def value(self, name: str, template: str | None) -> Any:
        """The value asked for; None when the recipe does not ask, or the request leaves it open."""
        if template is None:
            return None
        try:
            return templates.plain(templates.value(template, self.scope))
        except templates.TemplateProblem:
            # What is missing here a `check` of the recipe says in the task type's own words.
            return None

    def arch(self) -> str:
        """The architecture the task is for: of its buildroot, else its parameter `arch`, else the task's."""
        if self.recipe.buildroot is not None:
            found = self.value("buildroot.arch", self.recipe.buildroot.arch)
            if isinstance(found, str):
                return found
        named = self.params.get("arch")
        return named if isinstance(named, str) else self.request.arch


def _repo(session: Session, repo_id: Any, settings: Settings) -> RepoFacts | None:
    if repo_id is None or repo_id == "":
        return None
    try:
        number = int(repo_id)
    except (TypeError, ValueError):
        raise koji.ParameterError(f"Invalid repo id: {repo_id!r}") from None
    row = session.repoInfo(number, strict=True)
    below = posixpath.join("repos-dist" if row.get("dist") else "repos", row["tag_name"], str(row["id"]))
    tree = posixpath.join(settings.topdir, below.split("/")[0])
    return RepoFacts(
        id=row["id"],
        tag_id=row["tag_id"],
        tag_name=row["tag_name"],
        state=koji.REPO_STATES[row["state"]],
        create_event=row["create_event"],
        path=posixpath.join(settings.topdir, below) if os.path.isdir(tree) else None,
        url=posixpath.join(settings.topurl, below) if settings.topurl else None,
    )


def _tag(session: Session, tag: Any, event: int | None) -> TagFacts | None:
    if tag is None or tag == "":
        return None
    if isinstance(tag, Mapping):  # contract 4.0: an id, a name, or a dict
        tag = tag.get("id") or tag.get("name")
    row = session.getBuildConfig(tag, event=event) if event else session.getBuildConfig(tag)
    return TagFacts(id=row["id"], name=row["name"], arches=row["arches"] or "", extra=row["extra"] or {})


def _arch(session: Session, arch: str, task_arch: str, host_arches: str, tag: TagFacts | None) -> str:
    """Koji's canonical architecture; of a noarch task the one that host and tag share (contract find_arch)."""
    if arch != "noarch" or tag is None:
        return str(koji.canonArch(arch))
    # The library's rule, with nothing of a task but what the rule reads.
    chooser = koji.tasks.BaseTaskHandler.__new__(koji.tasks.BaseTaskHandler)
    chooser.taskinfo = {"arch": task_arch}
    chooser.logger = koji.tasks.logging.getLogger("koji.build.BaseTaskHandler")
    host = {"name": platform.node(), "arches": host_arches}
    return str(koji.canonArch(chooser.find_arch(arch, host, {"name": tag.name, "arches": tag.arches})))


def _external(rows: tuple[Mapping[str, Any], ...], arch: str) -> Iterator[ExternalRepo]:
    for row in rows:
        if row.get("arches") and arch not in row["arches"].split():
            continue
        yield ExternalRepo(
            name=row["external_repo_name"],
            url=row["url"].replace("$arch", arch),
            merge_mode=row.get("merge_mode") or "koji",
        )


def _package_repos(repo: RepoFacts | None, arch: str) -> tuple[PackageRepo, ...]:
    """The one repo a buildroot is made of (contract 5.3): by its address, as kojid does.

    By its path only where no address is set: a hub's own repo reaches its packages through the link `toplink`,
    which leads out of the directory that a container sees.
    """
    if repo is None:
        return ()
    path = posixpath.join(repo.path, arch) if repo.path and not repo.url else None
    return (
        PackageRepo(
            name="build",
            path=path if path and os.path.isdir(path) else None,
            url=posixpath.join(repo.url, arch) if repo.url else None,
        ),
    )


def _prefixed(extra: Mapping[str, Any], prefix: str) -> Iterator[NameValue]:
    for key in sorted(extra):
        if key.startswith(prefix):
            yield NameValue(name=key.removeprefix(prefix), value=str(extra[key]))


def _unhonoured(recipe: Recipe, extra: Mapping[str, Any]) -> Iterator[str]:
    """Keys of the tag that neither the engine nor the recipe's own text speaks of, so that nothing drops silently."""
    text = json.dumps(attrs.asdict(recipe), default=str)
    for key in sorted(extra):
        if not key.startswith((MOCK, "rpm.")) or key.startswith((MACRO, ENVIRONMENT)):
            continue
        if re.search(rf"(?<![\w.]){re.escape(key)}(?!\.?\w)", text):  # the whole word: not mock.yum for mock.yum.best
            continue
        why = NO_EFFECT.get(key, f"the recipe {recipe.method} does not honour it")
        yield f"tag setting {key} = {json.dumps(extra[key])} has no effect: {why}"
