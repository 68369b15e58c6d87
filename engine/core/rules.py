"""What must hold within one object of a recipe beyond its single values.

Each rule yields (key path within the object, message, cure).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engine.core import policy
from engine.core.documents import shown
from engine.core.kinds import relative_path, sample
from engine.core.policy import Complaint
from engine.core.recipe import Artifact, File, Input, Mount, Param, Step
from engine.core.request import type_complaint
from engine.core.structure import Found, Rule
from engine.core.templates import TemplateProblem, compile_template

_WORKSPACE = re.compile(r"\{\{\s*workspace\.host\s*\}\}(?P<part>.*)", re.DOTALL)


def _fixed(key: str, template: str, check: Callable[[str], Complaint | None]) -> Iterator[Found]:
    """The complaint about the fixed parts of a template."""
    text = sample(template) if template else None
    if text is not None and (complaint := check(text)):
        yield key, *complaint


def _mount(mount: Mount) -> Iterator[Found]:
    found = _WORKSPACE.fullmatch(mount.source)
    part = sample(f"/w{found['part']}") if found else None
    if part is not None and (complaint := policy.workspace_complaint(part, "/w", writable=mount.mode == "rw")):
        yield "source", *complaint


def _param(param: Param) -> Iterator[Found]:
    if param.default is not None:
        if not param.optional:
            yield "default", "only an optional parameter has a default", "add: optional = true"
        elif complaint := type_complaint(param, param.default):
            yield "default", *complaint
    templated = isinstance(param.local, str) and "{" in param.local
    if param.local is not None and not templated and (complaint := type_complaint(param, param.local)):
        yield "local", *complaint


def _input(item: Input) -> Iterator[Found]:
    if item.kind == "tree":
        yield from _fixed("source", item.source, policy.source_complaint)
        yield from _fixed("target", item.target, policy.target_complaint)
    else:
        yield from _fixed("source", item.source, relative_path)
        if "{" not in item.target and item.target and (complaint := policy.file_name_complaint(item.target)):
            yield "target", *complaint


def _file(file: File) -> Iterator[Found]:
    if file.literal:
        return
    try:
        compile_template(file.content)
    except TemplateProblem as problem:
        yield "content", problem.message, problem.cure or "or say literal = true"


_OWN_NAMES = frozenset({"result.json", "replay.sh"})
"""What stands beside the logs in the results."""


def _step(step: Step) -> Iterator[Found]:
    first = step.argv[0]
    if isinstance(first, str) and (not first or first.startswith("-")):
        yield "argv[0]", f"the first item is the program, got {shown(first)}", ""
    if step.log in _OWN_NAMES or step.log.endswith(".ctr"):
        yield "log", f"{step.log} is a file of the engine's own", "e.g. build.log"


def _artifact(artifact: Artifact) -> Iterator[Found]:
    if artifact.max is not None and artifact.max < artifact.min:
        yield "max", f"must not be less than min = {artifact.min}, got {artifact.max}", ""


RULES: Mapping[type[Any], Rule] = {
    Artifact: _artifact,
    File: _file,
    Input: _input,
    Mount: _mount,
    Param: _param,
    Step: _step,
}
