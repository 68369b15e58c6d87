"""A task without a hub: what the command line says, made into the request and facts that the hub would give. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from attrs import frozen

from engine.core import templates
from engine.core.errors import BadInput, Problem
from engine.core.facts import Facts, HostFacts, PackageRepo, Settings, TaskRequest
from engine.core.recipe import Recipe


@frozen(kw_only=True)
class LocalCall:
    """What a person asked for: `inputs` are absolute paths in the order of the recipe's `local.args`."""

    method: str
    inputs: tuple[str, ...] = ()
    params: Mapping[str, Any] = attrs.field(factory=dict)
    repos: tuple[PackageRepo, ...] = ()
    image: str | None = None


def local_task(
    recipe: Recipe, call: LocalCall, *, settings: Settings, host: HostFacts, task_id: int
) -> tuple[TaskRequest, Facts]:
    """Request and facts of a run without a hub; probes are not answered yet. BadInput with every problem."""
    problems = _input_problems(recipe, call.inputs)
    params = dict(call.params)
    scope = templates.variables({"host": attrs.asdict(host), "task": {"id": task_id, "arch": host.arch}})
    for param in recipe.params:
        if param.name in params or param.local is None:
            continue
        try:
            params[param.name] = templates.value(param.local, scope)
        except templates.TemplateProblem as problem:
            place = f"params.{param.name}.local"
            problems.append(Problem(f"recipes/{recipe.method}.toml", place, problem.message, problem.cure))
    if problems:
        raise BadInput(problems)
    arch = params.get("arch")
    request = TaskRequest(
        method=recipe.method,
        params=params,
        task_id=task_id,
        arch=arch if isinstance(arch, str) else host.arch,
    )
    facts = Facts(
        settings=settings,
        host=host,
        image=call.image,
        repos=call.repos,
        inputs=dict(zip(recipe.local.args, call.inputs, strict=False)),
    )
    return request, facts


def _input_problems(recipe: Recipe, given: Sequence[str]) -> list[Problem]:
    names = recipe.local.args
    if len(given) > len(names):
        wanted = f"{recipe.method} takes {', '.join(names)}" if names else f"{recipe.method} takes none"
        return [Problem("command line", "", f"{len(given)} arguments are given, {wanted}", recipe.local.summary)]
    needed = {item.name for item in recipe.inputs if item.when is None}
    return [
        Problem("command line", name, "an argument is missing", recipe.local.summary)
        for name in names[len(given) :]
        if name in needed
    ]
