"""The names that templates of a recipe may use, as a tree: what the loader holds every template against.

Derived from the classes of the facts, so that a fact is known here as soon as it exists. `engine render --vars`
lists it.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from attrs import field, frozen

from engine.core.facts import Facts, ProbeAnswer, TaskRequest
from engine.core.plan import Workspace
from engine.core.policy import Complaint
from engine.core.recipe import Param, Recipe


@frozen(kw_only=True)
class Variable:
    """A value by its type in words; `members` of a table, `element` of a list, `free`: any member may exist.

    `asked` is the key of the recipe without which the value is empty; "" when there is none.
    """

    type: str
    summary: str = ""
    members: Mapping[str, Variable] = field(factory=dict)
    element: Variable | None = None
    free: bool = False
    asked: str = ""


Scope = Mapping[str, Variable]

ANYTHING = Variable(type="any", free=True)
TEXT = Variable(type="string")
NUMBER = Variable(type="integer")
_PARAM_TYPES: Mapping[str, Variable] = {
    "str": TEXT,
    "path": TEXT,
    "arch": TEXT,
    "int": NUMBER,
    "float": Variable(type="number"),
    "bool": Variable(type="boolean"),
    "list": Variable(type="list", element=ANYTHING),
    "dict": Variable(type="table", free=True),
}
_SCALARS: Mapping[Any, Variable] = {
    str: TEXT,
    int: NUMBER,
    float: Variable(type="number"),
    bool: Variable(type="boolean"),
}
_ROOT_FACTS = ("settings", "host", "repo", "old_repo", "build_tag", "external_repos", "repos", "macros", "env")
_SUMMARIES = {
    "settings": "the operator's settings",
    "host": "this builder",
    "repo": "the task's repo; None unless facts.repo asks for one",
    "old_repo": "the repo to update from; None unless facts.old_repo asks for one",
    "build_tag": "the build config at the repo's event; None unless facts.build_tag asks for it",
    "external_repos": "external repos of the repo's tag; empty unless facts.external_repos is true",
    "repos": "repositories that packages are installed from",
    "macros": "rpm macros the tag sets",
    "env": "environment variables the tag sets",
}

_ELSEWHERE = {
    "loop": "a `for` has no counter; separators are the filter join's",
    "item": "it is there beside an `each` only",
    "exit": "it is there in a step's message only",
    "log": "it is there in a step's message only",
    "artifacts": "it is there in the result only",
    "logs": "it is there in the result only",
    "upload_path": "it is there in the result only",
    "buildroot": "it needs the table [buildroot]",
    "target_arch": "it needs the table [buildroot]",
    "root_arch": "it needs the table [buildroot]",
    "probes": "the host has not been asked yet",
    "inputs": "the inputs are not there yet",
    **dict.fromkeys(set(_ROOT_FACTS) - {"settings", "host"}, "the hub has not been asked yet"),
}
"""Names that exist, for one who uses them where they do not."""


def scope(recipe: Recipe) -> dict[str, Variable]:
    """What every template of the steps, files and mounts may use."""
    return {
        **facts_scope(recipe),
        **_repo_facts(recipe),
        "inputs": _inputs(recipe),
        "probes": _table("answers about the host", {p.name: of_type(ProbeAnswer) for p in recipe.probes}),
        **(_buildroot() if recipe.buildroot is not None else {}),
    }


def facts_scope(recipe: Recipe) -> dict[str, Variable]:
    """What is known before anything was asked: for `facts`."""
    hints = _hints(Facts)
    request = of_type(TaskRequest).members
    names = [name for name in request if name not in {"params", "task_id"}]
    return {
        "params": _table("the task's parameters", {p.name: _param(p) for p in recipe.params}),
        "task": _table("the task", {"id": request["task_id"], **{name: request[name] for name in names}}),
        **{name: _fact(hints, name) for name in ("settings", "host")},
        "image": attrs.evolve(TEXT, summary="the operator's task image"),
        "workspace": attrs.evolve(of_type(Workspace), summary="the task's directory: on the host, in containers"),
    }


def local_scope(recipe: Recipe) -> dict[str, Variable]:
    """What `params[].local` may use: there is no task yet, only this host (`engine.core.local`)."""
    task = {"id": NUMBER, "arch": attrs.evolve(TEXT, summary="this host's architecture")}
    return {"host": facts_scope(recipe)["host"], "task": _table("the task to be", task)}


def inputs_scope(recipe: Recipe) -> dict[str, Variable]:
    """What `inputs` may use: no other input yet, and no answer about the host."""
    return {**facts_scope(recipe), **_repo_facts(recipe)}


def probes_scope(recipe: Recipe) -> dict[str, Variable]:
    """What `probes` may use."""
    return {**inputs_scope(recipe), "inputs": _inputs(recipe)}


def message_scope(recipe: Recipe) -> dict[str, Variable]:
    """What `message` of a step may use besides."""
    code = Variable(type="integer", summary="None when a signal ended the step")
    signal = Variable(type="integer", summary="None when the step exited")
    text = Variable(type="string", summary="the cause in words: `exit code 3`, `signal 9 (SIGKILL)`")
    return {
        **scope(recipe),
        "exit": _table("how the step ended", {"code": code, "signal": signal, "text": text}),
        "log": attrs.evolve(TEXT, summary="name of the step's log"),
    }


def result_scope(recipe: Recipe) -> dict[str, Variable]:
    """What `result` may use besides."""
    said = {"names": "base names", "paths": "paths below the hub's work/"}
    listed = {key: Variable(type="list", element=TEXT, summary=text) for key, text in said.items()}
    return {
        **scope(recipe),
        "artifacts": _table("what was collected", {a.name: _table("", listed) for a in recipe.artifacts}),
        "logs": _table("the logs that are not empty", listed),
        "upload_path": attrs.evolve(TEXT, summary="the task's directory on the hub, below work/"),
    }


def complaint(name: str, known: Scope) -> Complaint | None:
    """What is wrong with a dotted name, or None."""
    parts = name.split(".")
    siblings: Scope = known
    for depth, part in enumerate(parts):
        if part not in siblings:
            parents = parts[:depth]
            full = ".".join([*parents, part])
            return f"unknown variable '{full}'", _cure(part, parents, siblings)
        variable = siblings[part]
        if variable.free or depth == len(parts) - 1:
            return None
        if variable.type != "table":
            here = ".".join(parts[: depth + 1])
            cure = "use `each`, or for" if variable.element else ""
            return f"'{here}' has no member '{parts[depth + 1]}': it is {_article(variable.type)}", cure
        siblings = variable.members
    return None


def _cure(part: str, parents: list[str], siblings: Scope) -> str:
    if not parents and part in _ELSEWHERE:
        return _ELSEWHERE[part]
    if close := difflib.get_close_matches(part, list(siblings), n=1, cutoff=0.6):
        return f"did you mean '{'.'.join([*parents, close[0]])}'?"
    return "known: " + ", ".join(".".join([*parents, key]) for key in sorted(siblings)) if siblings else ""


def element(expression: str, known: Scope) -> Variable:
    """What `item` is for ``each = expression``; anything where that cannot be told."""
    variable: Variable | None = None
    siblings = known
    for part in expression.strip().split("."):
        variable = siblings.get(part)
        if variable is None:
            return ANYTHING
        siblings = variable.members
    return variable.element if variable is not None and variable.element is not None else ANYTHING


def listed(known: Scope, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Every name with its type and summary, elements of lists as ``NAME[].member``."""
    for key, variable in known.items():
        name = f"{prefix}{key}"
        yield name, variable.type, variable.summary
        yield from listed(variable.members, f"{name}.")
        if variable.element is not None:
            yield from listed(variable.element.members, f"{name}[].")


@cache
def of_type(hint: Any) -> Variable:
    """A variable of a Python type: classes become tables, tuples lists."""
    if get_origin(hint) in {Union, types.UnionType}:
        members = [member for member in get_args(hint) if member is not type(None)]
        return of_type(members[0]) if len(members) == 1 else ANYTHING
    if attrs.has(hint):
        said = {field.name: field.metadata.get("doc", "") for field in attrs.fields(hint)}
        known = {key: attrs.evolve(of_type(inner), summary=said[key]) for key, inner in _hints(hint).items()}
        return Variable(type="table", members=known)
    if get_origin(hint) is tuple:
        inner = of_type(get_args(hint)[0])
        return Variable(type=f"list of {inner.type}s", element=inner)
    if get_origin(hint) is Literal:
        return TEXT
    if get_origin(hint) in {Mapping, dict}:
        return Variable(type="table", free=True)
    return _SCALARS.get(hint, ANYTHING)


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _fact(hints: Mapping[str, Any], name: str) -> Variable:
    return attrs.evolve(of_type(hints[name]), summary=_SUMMARIES[name])


def _repo_facts(recipe: Recipe) -> dict[str, Variable]:
    hints = _hints(Facts)
    asked = {name for name in ("repo", "old_repo", "build_tag", "external_repos") if not getattr(recipe.facts, name)}
    return {
        name: attrs.evolve(_fact(hints, name), asked=f"facts.{name}" if name in asked else "")
        for name in _ROOT_FACTS
        if name not in {"settings", "host"}
    }


def _inputs(recipe: Recipe) -> Variable:
    paths: dict[str, Variable] = {}
    for item in recipe.inputs:
        paths[item.name] = attrs.evolve(TEXT, summary="its path in the containers; None when left out")
        if item.kind == "tree":
            paths[f"{item.name}_source"] = attrs.evolve(TEXT, summary="its directory on the host")
    return _table("paths of the inputs", paths)


def _buildroot() -> dict[str, Variable]:
    variable = of_type(_hints(Facts)["buildroot"])
    return {
        "buildroot": attrs.evolve(variable, summary="the task's own root; `id` is None without a hub"),
        "target_arch": attrs.evolve(TEXT, summary="the architecture packages are built for, in rpm's words"),
        "root_arch": attrs.evolve(TEXT, summary="the root's, in rpm's words: a noarch task has one, too"),
    }


def _param(param: Param) -> Variable:
    return attrs.evolve(_PARAM_TYPES.get(param.type, ANYTHING), summary=param.summary)


def _table(summary: str, members: Mapping[str, Variable]) -> Variable:
    return Variable(type="table", summary=summary, members=members)


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
