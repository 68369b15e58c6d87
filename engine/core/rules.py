"""What must hold within one object of a recipe beyond its single values; policy.py's word on literal paths.

Each rule yields (key path within the object, message, cure).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engine.core import policy
from engine.core.documents import shown
from engine.core.policy import Complaint
from engine.core.recipe import Artifact, Container, File, Input, Mount, Param, Recipe, Step, Tmpfs
from engine.core.request import type_complaint
from engine.core.structure import Found, Rule
from engine.core.templates import TemplateProblem, compile_template

_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_WORKSPACE = re.compile(r"\{\{\s*workspace\.host\s*\}\}(?P<part>.*)", re.DOTALL)
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")
_TMPFS_NEVER = ("/proc", "/sys", "/dev")


def sample(template: str) -> str | None:
    """The template as a path would look once rendered, for judging its fixed parts; None when it cannot be told."""
    if "{%" in template or "{#" in template:
        return None
    text = _EXPRESSION.sub("x", template)
    return f"/{text}" if template.startswith("{{") else text


def _literal(key: str, template: str | None, check: Callable[[str], Complaint | None]) -> Iterator[Found]:
    """The complaint about the fixed parts of a template."""
    text = sample(template) if template else None
    if text is not None and (complaint := check(text)):
        yield key, *complaint


def _relative(path: str) -> Complaint | None:
    return policy.path_complaint(path.removeprefix("/x") or "x", absolute=False)


def _directory(path: str) -> Complaint | None:
    if path.split("/", maxsplit=1)[0] in {"in", "logs"}:
        return f"{path}: in/ and logs/ are the engine's", "use result/…"
    return _relative(path)


def _image(reference: str) -> Complaint | None:
    if _IMAGE.fullmatch(reference.removeprefix("/")):
        return None
    return f"{shown(reference)} is not an image reference", "e.g. registry/name:tag"


def _host_name(name: str) -> Complaint | None:
    if policy.HOST_NAME.match(name.removeprefix("/")):
        return None
    return f"{shown(name)} is not a host name", ""


def _mount(mount: Mount) -> Iterator[Found]:
    yield from _literal("source", mount.source, policy.source_complaint)
    yield from _literal("target", mount.target, policy.target_complaint)
    found = _WORKSPACE.fullmatch(mount.source)
    part = sample(f"/w{found['part']}") if found else None
    if part is not None and (complaint := policy.workspace_complaint(part, "/w", writable=mount.mode == "rw")):
        yield "source", *complaint


def _tmpfs(tmpfs: Tmpfs) -> Iterator[Found]:
    if tmpfs.target == "/" or any(policy.below(tmpfs.target, tree) for tree in _TMPFS_NEVER):
        yield "target", f"nothing may be mounted at {tmpfs.target}", "for /dev/shm see limits.shm"


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
        yield from _literal("source", item.source, policy.source_complaint)
        yield from _literal("target", item.target, policy.target_complaint)
    else:
        yield from _literal("source", item.source, _relative)
        if "{" not in item.target and item.target and (complaint := policy.file_name_complaint(item.target)):
            yield "target", *complaint


def _file(file: File) -> Iterator[Found]:
    yield from _literal("path", file.path, _relative)
    if file.literal:
        return
    try:
        compile_template(file.content)
    except TemplateProblem as problem:
        yield "content", problem.message, problem.cure or "or say literal = true"


def _container(container: Container) -> Iterator[Found]:
    yield from _literal("image", container.image, _image)
    yield from _literal("workdir", container.workdir, policy.path_complaint)
    yield from _literal("hostname", container.hostname, _host_name)


def _step(step: Step) -> Iterator[Found]:
    yield from _literal("image", step.image, _image)
    yield from _literal("workdir", step.workdir, policy.path_complaint)
    first = step.argv[0]
    if isinstance(first, str) and (not first or first.startswith("-")):
        yield "argv[0]", f"the first item is the program, got {shown(first)}", ""


def _artifact(artifact: Artifact) -> Iterator[Found]:
    if artifact.max is not None and artifact.max < artifact.min:
        yield "max", f"must not be less than min = {artifact.min}, got {artifact.max}", ""


def _recipe(recipe: Recipe) -> Iterator[Found]:
    for index, directory in enumerate(recipe.directories):
        yield from _literal(f"directories[{index}]", directory, _directory)


RULES: Mapping[type[Any], Rule] = {
    Artifact: _artifact,
    Container: _container,
    File: _file,
    Input: _input,
    Mount: _mount,
    Param: _param,
    Recipe: _recipe,
    Step: _step,
    Tmpfs: _tmpfs,
}
