"""Steps of a recipe to ContainerSpecs: inheritance from `container`, ceilings, policy of every value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs

from engine.core import policy
from engine.core.documents import shown
from engine.core.facts import Facts, HostFacts
from engine.core.images import image_complaint
from engine.core.mounts import MountRequest, duplicate_targets, parse_size, resolve_mount, swayed_mounts
from engine.core.plan import PlannedStep, Workspace
from engine.core.recipe import CAPABILITY_PROFILES, Argument, Limits, Mount, Network, Step
from engine.core.rendering import Rendering, container_name, labels, selinux_level
from engine.core.spec import (
    AnchorSpec,
    ContainerSpec,
    ResourceLimits,
    SecretMount,
    TmpfsMount,
    VolumeMount,
)

UID = GID = 1000  # ADR "UID/GID Strategy": koji:koji
TARGET = "/target"
MAX_CONTAINER_NAME = 200
MAX_SECRET_NAME = 64  # podman's


def render_steps(
    rendering: Rendering, workspace: Workspace, anchor: AnchorSpec | None, task_id: int
) -> tuple[tuple[PlannedStep, ...], set[str]]:
    """The planned steps, and the workspace directories that their mounts need."""
    planned: list[PlannedStep] = []
    directories: set[str] = set()
    for index, step in enumerate(rendering.recipe.steps):
        place = f"steps[{index}]"
        if not rendering.holds(place, step.when):
            continue
        container = _container(rendering, step, place, index, workspace, anchor, task_id)
        for mount in container.mounts:
            part = mount.source[len(workspace.host) :].strip("/")
            if policy.below(mount.source, workspace.host) and not part.startswith("in/"):
                directories.add(part)
        planned.append(
            PlannedStep(
                name=step.name,
                summary=rendering.text(f"{place}.summary", step.summary),
                container=container,
                log=step.log or f"{step.name}.log",
                timeout=_timeout(rendering, step, place),
                again=step.again,
                standby=step.standby is not None and rendering.holds(f"{place}.standby", step.standby),
                when_file=step.when_file,
                echo=step.echo,
                fails=step.fails,
                exits=step.exits,
                message=step.message,
            )
        )
    for name, complaint in swayed_mounts({step.name: step.container.mounts for step in planned}):
        index = next(i for i, step in enumerate(rendering.recipe.steps) if step.name == name)
        rendering.complain(f"steps[{index}].mounts", *complaint)
    names = {step.name for step in planned}
    for index, step in enumerate(rendering.recipe.steps):
        if step.name in names and step.again and step.again.step not in names:
            rendering.complain(f"steps[{index}].again.step", f"step {step.again.step!r} is left out by its `when`")
    if not planned and not rendering.problems:
        rendering.complain("steps", "every step is left out by its `when`", "at least one step must run")
    return tuple(planned), directories


def _container(
    rendering: Rendering,
    step: Step,
    place: str,
    index: int,
    workspace: Workspace,
    anchor: AnchorSpec | None,
    task_id: int,
) -> ContainerSpec:
    base, facts = rendering.recipe.container, rendering.facts
    settings = facts.settings
    on_buildroot = (step.root or base.root) == "buildroot"
    image_template = step.image or base.image
    image = rendering.text(f"{place}.image", image_template)
    root = (step.user or base.user) == "root"
    workdir = rendering.text(f"{place}.workdir", step.workdir or base.workdir)
    hostname = rendering.text(f"{place}.hostname", base.hostname)
    rendering.check(f"{place}.workdir", policy.path_complaint(workdir))
    if not policy.HOST_NAME.match(hostname):
        rendering.complain(f"{place}.hostname", f"{hostname!r} is not a host name")
    if complaint := image_complaint(image):
        rendering.complain(f"{place}.image", *complaint)
    mounts = _mounts(rendering, step, place, workspace)
    if step.target and anchor is not None:
        mounts = (VolumeMount(source=f"root:{anchor.name}", target=TARGET, read_only=False), *mounts)
    tmpfs, secrets = _tmpfs(rendering, step, place), _secrets(rendering, step, place, task_id, root=root)
    for target in duplicate_targets((*mounts, *tmpfs)):
        rendering.complain(f"{place}.mounts", f"{target} is mounted twice", "leave one out with `when`")
    name = container_name(facts, task_id, f"{index + 1}-{step.name}")
    if len(name) > MAX_CONTAINER_NAME:
        rendering.complain(f"{place}.name", "the container's name becomes too long", "shorten worker_id or step")
    return ContainerSpec(
        name=name,
        image=anchor.image if on_buildroot and anchor else image,
        root=anchor.name if on_buildroot and anchor else None,
        argv=_argv(rendering, step, place),
        env=_env(rendering, step, place),
        workdir=workdir,
        hostname=hostname,
        user_id=None if root else UID,
        group_id=None if root else GID,
        own_ids=facts.host.own_ids or None,
        # ADR "Network Policy": the operator's switch is off for every container, whatever a recipe says.
        network_disabled=not settings.adjutant_network_enabled or not _online(step.network or base.network, facts),
        mounts=mounts,
        tmpfs=tmpfs,
        secrets=secrets,
        capabilities=CAPABILITY_PROFILES[step.caps or base.caps],
        limits=within_host(_limits(rendering, base.limits, step.limits, place), facts.host),
        labels=labels(facts, task_id, "step"),
        log_path=f"{workspace.host}/logs/{index + 1}-{step.name}.ctr",
        stop_timeout=settings.adjutant_container_timeouts.stop_grace,
        selinux_type=settings.selinux_type,
        selinux_level=selinux_level(facts, task_id),
    )


def _argv(rendering: Rendering, step: Step, place: str) -> tuple[str, ...]:
    words: list[str] = []
    for index, item in enumerate(step.argv):
        path = f"{place}.argv[{index}]"
        group = item if isinstance(item, Argument) else Argument(args=(item,))
        for scope in rendering.each(f"{path}.each", group.each):
            if not rendering.holds(path, group.when, scope):
                continue
            for number, template in enumerate(group.args):
                at = f"{path}.args[{number}]" if isinstance(item, Argument) else path
                word = rendering.text(at, template, scope)
                if rendering.check(at, policy.word_complaint(word, template), template, group.each):
                    words.append(word)
    if not rendering.problems and (not words or not words[0]):
        rendering.complain(f"{place}.argv", "the command is empty", "the first item is the program")
    return tuple(words)


def _env(rendering: Rendering, step: Step, place: str) -> dict[str, str]:
    base = rendering.recipe.container
    env: dict[str, str] = {}
    for owner, source in (("container", base.env_from), (place, step.env_from)):
        if source is None:
            continue
        for scope in rendering.each(f"{owner}.env_from", source):
            item: Any = scope["item"]
            if not isinstance(item, Mapping) or not all(isinstance(item.get(key), str) for key in ("name", "value")):
                cure = "both are strings"
                rendering.complain(f"{owner}.env_from", "must give a list of tables with `name` and `value`", cure)
                break
            env[item["name"]] = item["value"]
    for owner, table in (("container", base.env), (place, step.env)):
        for name, template in table.items():
            env[name] = rendering.text(f"{owner}.env.{name}", template)
    for name, value in env.items():
        if not policy.ENV_NAME.match(name):
            rendering.complain(f"{place}.env", f"{name!r} is not a variable's name")
        if len(f"{name}={value}".encode()) > policy.MAX_WORD:
            rendering.complain(f"{place}.env.{name}", f"the value has more than {policy.MAX_WORD} bytes", "use a file")
        if "\x00" in value:
            rendering.complain(f"{place}.env.{name}", "the value has a NUL character")
    return dict(sorted(env.items()))


def _mounts(rendering: Rendering, step: Step, place: str, workspace: Workspace) -> tuple[VolumeMount, ...]:
    resolved: list[VolumeMount] = []
    listed: list[tuple[str, Mount]] = [
        *((f"container.mounts[{i}]", mount) for i, mount in enumerate(rendering.recipe.container.mounts)),
        *((f"{place}.mounts[{i}]", mount) for i, mount in enumerate(step.mounts)),
    ]
    for path, mount in listed:
        for scope in rendering.each(f"{path}.each", mount.each):
            if not rendering.holds(path, mount.when, scope):
                continue
            before = len(rendering.problems)
            request = MountRequest(
                mount=mount,
                source=rendering.text(f"{path}.source", mount.source, scope),
                target=rendering.text(f"{path}.target", mount.target, scope),
                path=path,
            )
            if len(rendering.problems) > before:
                continue
            result = resolve_mount(request, rendering.facts, workspace.host)
            if isinstance(result, VolumeMount):
                resolved.append(result)
            else:
                rendering.complain(path, *result)
    return tuple(resolved)


def _tmpfs(rendering: Rendering, step: Step, place: str) -> tuple[TmpfsMount, ...]:
    result = []
    for entry in (*rendering.recipe.container.tmpfs, *step.tmpfs):
        size = parse_size(entry.size)
        if size is None:
            rendering.complain(f"{place}.tmpfs", f"size {entry.size!r} is not a size", "write e.g. 64m")
            continue
        _within_memory(rendering, f"{place}.tmpfs", size, f"{entry.target}: ")
        result.append(TmpfsMount(target=entry.target, size=size, mode=entry.mode))
    return tuple(result)


def _limits(rendering: Rendering, base: Limits, own: Limits, place: str) -> ResourceLimits:
    """Step over container over the operator's; more than the operator allows is refused."""
    asked = {field.name: getattr(own, field.name) or getattr(base, field.name) for field in attrs.fields(Limits)}
    ceiling = rendering.facts.settings.limits
    sizes: dict[str, int | None] = {}
    for key in ("memory", "shm"):
        text = asked[key]
        sizes[key] = parse_size(text) if text is not None else None
        if text is not None and sizes[key] is None:
            rendering.complain(f"{place}.limits.{key}", f"{text!r} is not a size", "write e.g. 4g")
    for key, value, most in (
        ("memory", sizes["memory"], ceiling.memory),
        ("cpus", asked["cpus"], ceiling.cpus),
        ("pids", asked["pids"], ceiling.pids),
        ("nofile", asked["nofile"], ceiling.nofile),
    ):
        if value is not None and most is not None and value > most:
            rendering.complain(
                f"{place}.limits.{key}",
                f"{value} is more than the operator allows",
                f"at most {most}: limits.{key}",
            )
    _within_memory(rendering, f"{place}.limits.shm", sizes["shm"])
    return ResourceLimits(
        memory=sizes["memory"] if sizes["memory"] is not None else ceiling.memory,
        cpus=asked["cpus"] if asked["cpus"] is not None else ceiling.cpus,
        pids=asked["pids"] or ceiling.pids,
        nofile=asked["nofile"],
        shm=sizes["shm"],
    )


def _within_memory(rendering: Rendering, path: str, size: int | None, what: str = "") -> None:
    """A file system in memory is memory: of it the operator allows no more."""
    most = rendering.facts.settings.limits.memory
    if size is not None and most is not None and size > most:
        message = f"{what}{size} is more memory than the operator allows"
        rendering.complain(path, message, f"at most {most}: limits.memory")


def within_host(limits: ResourceLimits, host: HostFacts) -> ResourceLimits:
    """The limits with no more processes than one container of this user may have, where cgroups do not bind."""
    return attrs.evolve(limits, pids=min(limits.pids, host.own_pids)) if host.own_ids and host.own_pids else limits


def _timeout(rendering: Rendering, step: Step, place: str) -> int:
    most = rendering.facts.settings.limits.seconds
    value = step.timeout if isinstance(step.timeout, int) else rendering.value(f"{place}.timeout", step.timeout)
    if isinstance(value, str) and re.fullmatch("[0-9]{1,18}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        if not rendering.problems:
            cure = "a whole one: the filter int makes it" if isinstance(value, float) else ""
            rendering.complain(f"{place}.timeout", f"must be a number of seconds, got {shown(value)}", cure)
        return most
    if value > most:
        rendering.complain(
            f"{place}.timeout",
            f"{value} s is more than the operator allows",
            f"at most {most}: limits.seconds",
        )
    return value or most


def _online(network: Network, facts: Facts) -> bool:
    return network == "default" or (network == "repos" and any(not repo.path for repo in facts.repos))


def _secrets(rendering: Rendering, step: Step, place: str, task_id: int, *, root: bool) -> tuple[SecretMount, ...]:
    """The operator's secrets as files that only the step's user can read."""
    settings, uid = rendering.facts.settings, 0 if root else UID
    mounts = []
    for index, name in enumerate(step.secrets):
        if name in step.secrets[:index]:
            rendering.complain(f"{place}.secrets[{index}]", f"'{name}' is listed twice", "leave one out")
        full = f"adjutant-{settings.worker_id}-{task_id}-{name}"
        if name not in settings.adjutant_secrets:
            message, cure = f"there is no secret '{name}' here", "the operator maps it to a file: adjutant_secrets"
            rendering.complain(f"{place}.secrets[{index}]", message, cure)
        elif len(full) > MAX_SECRET_NAME:
            message = f"the secret's name in podman becomes {len(full)} characters long, {MAX_SECRET_NAME} is the most"
            rendering.complain(f"{place}.secrets[{index}]", message, "shorten worker.id or the secret's name")
        else:
            mounts.append(SecretMount(name=full, target=f"/run/secrets/{name}", uid=uid, gid=uid))
    return tuple(mounts)
