"""What templates may say: every variable with its type, for `engine render --vars` and the loader's check."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import attrs
from attrs import frozen

from engine.core.facts import (
    BuildrootFacts,
    ExternalRepo,
    HostFacts,
    NameValue,
    PackageRepo,
    ProbeAnswer,
    RepoFacts,
    Settings,
    TagFacts,
    TaskRequest,
)
from engine.core.plan import Workspace
from engine.core.recipe import Recipe

Stage = Literal["render", "message", "result"]


@frozen(kw_only=True)
class Variable:
    """A dotted name, its type in words, and a sentence; `stage` from when on it is known.

    ``[]`` in a name stands for an element of a list (`item` of an `each` over it); a name ending in ``.*`` for any
    member of a table whose keys are not declared.
    """

    name: str
    type: str
    summary: str = ""
    stage: Stage = "render"


def vocabulary(recipe: Recipe) -> tuple[Variable, ...]:
    """Everything the templates of this recipe may read, in the order of the reference."""
    found: list[Variable] = []
    for param in recipe.params:
        kind = _PARAM_TYPES.get(param.type, param.type) + (" or None" if param.optional else "")
        found.append(Variable(name=f"params.{param.name}", type=kind, summary=param.summary))
        if param.type in {"dict", "any", "tag"}:
            found.append(Variable(name=f"params.{param.name}.*", type="any", summary="a member of it"))
    found += [
        Variable(name="task.id", type="int", summary="task id"),
        *_members("task", TaskRequest, skip={"params", "task_id"}),
        Variable(name="image", type="str", summary="the operator's image for this task"),
        *_members("workspace", Workspace),
        *_members("host", HostFacts),
    ]
    for item in recipe.inputs:
        kind = "str or None" if item.when else "str"
        found.append(Variable(name=f"inputs.{item.name}", type=kind, summary="path inside the containers"))
        if item.kind == "tree":
            found.append(Variable(name=f"inputs.{item.name}_source", type=kind, summary="path on the host"))
    for probe in recipe.probes:
        found += _members(f"probes.{probe.name}", ProbeAnswer)
    for name, cls, summary in (
        ("repo", RepoFacts, "the task's repo, or None without a hub"),
        ("old_repo", RepoFacts, "the repo to update from, or None"),
        ("build_tag", TagFacts, "build config of the tag at the repo's event, or None"),
    ):
        found.append(Variable(name=name, type="table or None", summary=summary))
        found += _members(name, cls)
    for name, cls in (
        ("external_repos", ExternalRepo),
        ("repos", PackageRepo),
        ("macros", NameValue),
        ("env", NameValue),
    ):
        found.append(Variable(name=name, type="list", summary=_first_line(cls)))
        found += _members(f"{name}[]", cls)
    if recipe.buildroot is not None:
        found += _members("buildroot", BuildrootFacts)
        found.append(Variable(name="target_arch", type="str", summary="rpm's name of the buildroot's architecture"))
    found += _members("settings", Settings)
    found.append(Variable(name="item", type="any", summary="the current element, beside an `each`"))
    found.append(Variable(name="item.*", type="any", summary="a member of it"))
    found += [
        Variable(name="exit.code", type="int", summary="exit code of the step", stage="message"),
        Variable(name="exit.signal", type="int or None", summary="signal that ended it", stage="message"),
        Variable(name="exit.text", type="str", summary="how the step ended, in words", stage="message"),
        Variable(name="log", type="str", summary="name of the step's log", stage="message"),
    ]
    for artifact in recipe.artifacts:
        found += _files(f"artifacts.{artifact.name}", "collected files")
    found += _files("logs", "logs that are not empty")
    found.append(
        Variable(name="upload_path", type="str", summary="the task's directory below the hub's work/", stage="result")
    )
    return tuple(found)


def _files(name: str, summary: str) -> list[Variable]:
    return [
        Variable(name=f"{name}.names", type="list of str", summary=f"{summary}: base names", stage="result"),
        Variable(name=f"{name}.paths", type="list of str", summary=f"{summary}: work paths", stage="result"),
    ]


_PARAM_TYPES = {"dict": "table", "list": "list", "path": "str", "arch": "str", "tag": "int, str or table"}


def _members(prefix: str, cls: type, *, skip: frozenset[str] | set[str] = frozenset()) -> Iterator[Variable]:
    hints = typing.get_type_hints(cls)
    for field in attrs.fields(cls):
        if field.name in skip:
            continue
        name, hint = f"{prefix}.{field.name}", hints[field.name]
        inner = _attrs_class(hint)
        if inner is not None:
            yield from _members(name, inner)
            continue
        yield Variable(name=name, type=type_words(hint))
        if get_origin(hint) is not None and _is_mapping(hint):
            yield Variable(name=f"{name}.*", type="any", summary="a member of it")


def _attrs_class(hint: Any) -> type | None:
    return hint if isinstance(hint, type) and attrs.has(hint) else None


def _is_mapping(hint: Any) -> bool:
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def type_words(hint: Any) -> str:
    """A type annotation in words: ``str or None``, ``list of str``."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join("None" if part is type(None) else type_words(part) for part in arguments)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if origin is tuple:
        inner = arguments[0] if arguments else Any
        return "list of tables" if _attrs_class(inner) else f"list of {type_words(inner)}"
    if _is_mapping(hint):
        return "table"
    return "any" if hint is Any else getattr(hint, "__name__", str(hint))


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0].rstrip(".")
