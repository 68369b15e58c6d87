"""recipe + request + facts -> plan. Pure: the same values give the same bytes on any machine.

All problems are collected and raised together as `BadInput`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import attrs

from engine.core import policy, templates
from engine.core.errors import BadInput, EngineError, HostUnfit, Problem, TaskFailed
from engine.core.facts import BuildrootFacts, Facts, ProbeAnswer, TaskRequest
from engine.core.images import TAG_EXTRA, ImageChoice, choose_image, image_complaint
from engine.core.plan import Plan, PlannedFile, PlannedInput, PlannedStep, Workspace
from engine.core.recipe import Buildroot, Input, Recipe
from engine.core.rendering import Rendering, container_name, labels, selinux_level
from engine.core.request import check_params
from engine.core.spec import AnchorSpec
from engine.core.steps import render_steps

UNRESOLVED = "localhost/adjutant-root:unresolved"
"""Stands for a snapshot that `engine.buildroot` has not looked for yet."""

TARGET_ARCH = {"armhfp": "armv7hl"}  # a Koji arch that rpm does not know (contract 5.2)


def probe_paths(recipe: Recipe, request: TaskRequest, facts: Facts) -> dict[str, str]:
    """The host paths that the recipe's probes ask about, by probe name; those left out by `when` are absent."""
    rendering, _workspace, _inputs_planned = begin(recipe, request, facts, f"recipes/{recipe.method}.toml")
    paths = {
        probe.name: rendering.text(f"probes[{index}].path", probe.path)
        for index, probe in enumerate(recipe.probes)
        if rendering.holds(f"probes[{index}]", probe.when)
    }
    if rendering.problems:
        raise BadInput(rendering.problems)
    return paths


def render(recipe: Recipe, request: TaskRequest, facts: Facts, *, where: str = "") -> Plan:
    """The plan of one task.

    Raises BadInput with every problem of recipe, request and facts together; TaskFailed or
    InfrastructureError for a check of the recipe that does not hold.
    """
    where = where or f"recipes/{recipe.method}.toml"
    rendering, workspace, inputs, anchor = _in_scope(recipe, request, facts, where)
    failed = _checks(rendering)
    files = _files(rendering)
    _own_places(rendering, inputs, files)
    steps, mounted = render_steps(rendering, workspace, anchor, request.task_id)
    _mounts_of_inputs(rendering, steps, workspace, inputs, files)
    directories = {"in", "logs", "result", *mounted, *_directories(rendering)}
    if rendering.problems:
        raise BadInput(rendering.problems)
    if failed is not None:
        raise failed
    return Plan(
        method=recipe.method,
        recipe=f"{recipe.method}.toml",
        task_id=request.task_id,
        worker_id=facts.settings.worker_id,
        workspace=workspace,
        directories=tuple(sorted(directories)),
        files=files,
        inputs=inputs,
        anchor=anchor,
        steps=steps,
        artifacts=tuple(
            artifact
            for index, artifact in enumerate(recipe.artifacts)
            if rendering.holds(f"artifacts[{index}]", artifact.when)
        ),
        log_bytes=facts.settings.limits.log_bytes,
        phases=recipe.phases,
    )


def closing_variables(recipe: Recipe, request: TaskRequest, facts: Facts) -> dict[str, Any]:
    """What fault texts and the result know of the task, besides what happened (`engine.core.closing`)."""
    rendering, *_rest = _in_scope(recipe, request, facts, f"recipes/{recipe.method}.toml")
    if rendering.problems:
        raise BadInput(rendering.problems)
    return dict(rendering.variables)


def _in_scope(
    recipe: Recipe, request: TaskRequest, facts: Facts, where: str
) -> tuple[Rendering, Workspace, tuple[PlannedInput, ...], AnchorSpec | None]:
    """The render with every variable that steps, messages and the result share."""
    rendering, workspace, inputs = begin(recipe, request, facts, where)
    rendering.variables = templates.variables({**rendering.variables, "probes": _probes(rendering)})
    anchor = None
    if recipe.buildroot is not None:
        arch = rendering.text("buildroot.arch", recipe.buildroot.arch)
        target = TARGET_ARCH.get(arch, arch)
        root = _root(recipe.buildroot, facts, root_arch(arch, facts), rendering.variables["image"])
        rendering.facts = attrs.evolve(rendering.facts, buildroot=root)
        rendering.variables = templates.variables(
            {
                **rendering.variables,
                "target_arch": target,
                "root_arch": TARGET_ARCH.get(root.arch, root.arch),
                "buildroot": attrs.asdict(root),
            }
        )
        if complaint := image_complaint(root.image):
            rendering.complain("buildroot", *complaint)
        anchor = _anchor(request, facts, root.image)
    return rendering, workspace, inputs, anchor


def root_arch(asked: str, facts: Facts) -> str:
    """Koji's architecture of the root: the one chosen for the task, or the host's for a noarch one (contract 4.0)."""
    if facts.buildroot is not None and facts.buildroot.arch:
        return facts.buildroot.arch
    return facts.host.arch if asked == "noarch" else asked


def begin(
    recipe: Recipe, request: TaskRequest, facts: Facts, where: str
) -> tuple[Rendering, Workspace, tuple[PlannedInput, ...]]:
    """Checked parameters, the workspace and the inputs: what probes may already speak of."""
    params, problems = check_params(recipe.params, request.params)
    if request.method != recipe.method:
        message = f"is {request.method!r}, the recipe is for {recipe.method!r}"
        problems.append(Problem("request", "method", message))
    settings = facts.settings
    if not policy.CONTAINER_NAME.match(settings.worker_id):
        message = f"{settings.worker_id!r} cannot be part of a container's name"
        problems.append(Problem("settings", "worker_id", message))
    judged = [
        ("workdir", policy.workdir_complaint(settings.workdir)),
        *(("adjutant_container_labels", policy.label_complaint(key)) for key in settings.adjutant_container_labels),
        ("selinux_type", policy.selinux_complaint(settings.selinux_type, level=False)),
        ("selinux_level", policy.selinux_complaint(settings.selinux_level, level=True)),
    ]
    problems += [Problem("settings", key, *complaint) for key, complaint in judged if complaint]
    if problems:
        raise BadInput(problems)
    host = posixpath.join(settings.workdir, str(request.task_id))
    workspace = Workspace(host=host, path=f"/work/{request.task_id}")
    scope = templates.variables(_variables(request, params, facts, workspace))
    rendering = Rendering(recipe, facts, where, scope)
    inputs, paths = _inputs(rendering, workspace)
    rendering.variables = templates.variables({**rendering.variables, "inputs": paths})
    if rendering.problems and (failed := _checks(Rendering(recipe, facts, where, rendering.variables))) is not None:
        raise failed  # it says what the inputs without a value come from
    return rendering, workspace, inputs


def _probes(rendering: Rendering) -> dict[str, Any]:
    """The answers among the facts; one that is needed and missing is a problem of the request."""
    answers: dict[str, Any] = {}
    for index, probe in enumerate(rendering.recipe.probes):
        asked = rendering.holds(f"probes[{index}]", probe.when)
        answer = rendering.facts.probes.get(probe.name) if asked else None
        if answer is None and asked:
            cure = "give exists and size"
            rendering.problems.append(Problem("request", f"facts.probes.{probe.name}", "a value is missing", cure))
        answers[probe.name] = attrs.asdict(answer or ProbeAnswer())
    return answers


def _directories(rendering: Rendering) -> set[str]:
    made = set()
    for index, template in enumerate(rendering.recipe.directories):
        place = f"directories[{index}]"
        path = rendering.text(place, template)
        if path.split("/")[0] in {"in", "logs"}:
            rendering.complain(place, f"{path}: in/ and logs/ are the engine's", "use result/…")
        elif rendering.check(place, policy.path_complaint(path, absolute=False), template):
            made.add(path)
    return made


def _variables(request: TaskRequest, params: Mapping[str, Any], facts: Facts, workspace: Workspace) -> dict[str, Any]:
    def known(value: Any) -> Any:
        return None if value is None else attrs.asdict(value)

    task = {f.name: getattr(request, f.name) for f in attrs.fields(TaskRequest) if f.name not in {"params", "task_id"}}
    return {
        "params": params,
        "task": {"id": request.task_id, **task},
        "settings": attrs.asdict(facts.settings),
        "host": known(facts.host),
        "image": image_of(request, facts),
        "workspace": known(workspace),
        "repo": known(facts.repo),
        "old_repo": known(facts.old_repo),
        "build_tag": known(facts.build_tag),
        "external_repos": [known(repo) for repo in facts.external_repos],
        "repos": [known(repo) for repo in facts.repos],
        "macros": [known(macro) for macro in facts.macros],
        "env": [known(variable) for variable in facts.env],
    }


def image_of(request: TaskRequest, facts: Facts) -> str:
    """The image for this task."""
    return image_choice(request, facts).image


def image_choice(request: TaskRequest, facts: Facts) -> ImageChoice:
    """The image for this task, and why: the one given, else the operator's choice."""
    if facts.image:
        return ImageChoice(facts.image, "given with the request")
    tag, repo, settings = facts.build_tag, facts.repo, facts.settings
    extra = tag.extra if tag else None
    if facts.tag_image is not None:
        extra = {TAG_EXTRA: facts.tag_image} if facts.tag_image else {}
    return choose_image(
        method=request.method,
        arch=request.arch,
        default=settings.adjutant_task_image_default,
        tag=tag.name if tag else repo.tag_name if repo else "",
        extra=extra,
        rules=settings.adjutant_images,
        allowed=settings.adjutant_images_allowed,
    )


def _inputs(rendering: Rendering, workspace: Workspace) -> tuple[tuple[PlannedInput, ...], dict[str, str | None]]:
    """The planned inputs, and `inputs.NAME` for the templates: a path inside the containers.

    A tree also has `inputs.NAME_source`, its place on the host, for a mount.
    """
    planned: list[PlannedInput] = []
    paths: dict[str, str | None] = {}
    for index, item in enumerate(rendering.recipe.inputs):
        place = f"inputs[{index}]"
        given = rendering.facts.inputs.get(item.name)
        if given is None and not rendering.holds(place, item.when):
            paths[item.name] = None
            continue
        source = given if given is not None else rendering.text(f"{place}.source", item.source)
        if item.kind == "tree":
            paths[f"{item.name}_source"] = source
            paths[item.name] = rendering.text(f"{place}.target", item.target) or f"{workspace.path}/{item.name}"
            if given is not None and (complaint := policy.given_complaint(source)):
                rendering.problems.append(Problem("request", f"facts.inputs.{item.name}", *complaint))
            elif rendering.check(f"{place}.source", policy.path_complaint(source)):
                planned.append(PlannedInput(name=item.name, source=source, path="", local=True))
            continue
        name = _file_name(rendering, place, item, source)
        paths[item.name] = f"{workspace.path}/in/{name}"
        local = given is not None
        if rendering.check(f"{place}.source", policy.path_complaint(source, absolute=local), item.source):
            planned.append(PlannedInput(name=item.name, source=source, path=f"in/{name}", local=local))
    return tuple(planned), paths


def _file_name(rendering: Rendering, place: str, item: Input, source: str) -> str:
    name = rendering.text(f"{place}.target", item.target) or posixpath.basename(source)
    rendering.check(f"{place}.source", policy.file_name_complaint(name), item.target or item.source)
    return name


def _checks(rendering: Rendering) -> EngineError | None:
    """The error of the first check that does not hold; one that cannot be told is a problem."""
    for index, check in enumerate(rendering.recipe.checks):
        place = f"checks[{index}]"
        known = len(rendering.problems)
        if not rendering.holds(f"{place}.that", check.that) and len(rendering.problems) == known:
            message = rendering.text(f"{place}.message", check.message)
            return HostUnfit(message) if check.fails == "infrastructure" else TaskFailed(check.fails, message)
    return None


def _files(rendering: Rendering) -> tuple[PlannedFile, ...]:
    planned, seen = [], set()
    for index, file in enumerate(rendering.recipe.files):
        place = f"files[{index}]"
        if not rendering.holds(place, file.when):
            continue
        path = rendering.text(f"{place}.path", file.path)
        content = file.content if file.literal else rendering.text(f"{place}.content", file.content)
        if not rendering.check(f"{place}.path", policy.path_complaint(path, absolute=False), file.path):
            continue
        path = path.rstrip("/")
        if path in seen:
            rendering.complain(f"{place}.path", f"{path!r} is written twice", "give one of them another name")
        seen.add(path)
        planned.append(PlannedFile(path=f"in/{path}", content=content, mode=file.mode))
    return tuple(planned)


def _own_places(rendering: Rendering, inputs: tuple[PlannedInput, ...], files: tuple[PlannedFile, ...]) -> None:
    """Everything in ``in/`` has a place of its own: a task names its inputs, and a file may be what a step runs."""
    taken: dict[str, str] = {}
    for file in files:
        for path, other in taken.items():
            if file.path == path:
                continue  # said already
            if policy.below(file.path, path) or policy.below(path, file.path):
                message = f"{file.path} and {other} cannot both be there"
                rendering.complain("files", message, "give one of them another name")
        taken[file.path] = f"the recipe's file {file.path.removeprefix('in/')}"
    for item in inputs:
        if not item.path:
            continue
        index, wanted = next((i, known) for i, known in enumerate(rendering.recipe.inputs) if known.name == item.name)
        for path, other in taken.items():
            if policy.below(path, item.path):
                complaint = f"{item.path} would take the place of {other}", "another file name is needed"
                rendering.check(f"inputs[{index}].source", complaint, wanted.target or wanted.source)
        taken[item.path] = f"the input {item.name}"


def _mounts_of_inputs(
    rendering: Rendering,
    steps: tuple[PlannedStep, ...],
    workspace: Workspace,
    inputs: tuple[PlannedInput, ...],
    files: tuple[PlannedFile, ...],
) -> None:
    """What a step mounts of ``in/`` is there when it starts."""
    there = [item.path for item in inputs if item.path] + [file.path for file in files]
    for step in steps:
        for mount in step.container.mounts:
            part = posixpath.relpath(mount.source, workspace.host)
            if part.startswith("in/") and not any(policy.below(path, part) for path in there):
                index = next(i for i, known in enumerate(rendering.recipe.steps) if known.name == step.name)
                message = f"{part} is no input and no file of this task"
                rendering.complain(f"steps[{index}].mounts", message, "give the mount the `when` of what it mounts")


def _root(wanted: Buildroot, facts: Facts, arch: str, task_image: str) -> BuildrootFacts:
    """The root as it is known. A plan shown before the root of a repo was resolved says so, and could not run."""
    known = facts.buildroot or BuildrootFacts(arch=arch)
    if wanted.mode == "image":
        return attrs.evolve(known, image=known.image or task_image)
    place = posixpath.join(facts.settings.workdir, "buildroots")
    return attrs.evolve(
        known,
        image=known.image or UNRESOLVED,
        tools=known.tools or posixpath.join(place, "tools/unresolved"),
        cache=known.cache or posixpath.join(place, "cache/unresolved"),
    )


def _anchor(request: TaskRequest, facts: Facts, image: str) -> AnchorSpec:
    settings = facts.settings
    return AnchorSpec(
        name=container_name(facts, request.task_id, "root"),
        image=image,
        labels=labels(facts, request.task_id, "anchor"),
        selinux_type=settings.selinux_type,
        selinux_level=selinux_level(facts, request.task_id),
    )
