"""What podman is told about a container, printed and posted: two forms of one table (`podman_options`).

`shell_text` prints what `body` posts, so the printed plan is the executed plan (design.md section 2.3);
`tests/form` holds both against real podman.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from engine.core.podman_options import ROOT_PREFIX, RootOf, Word, rows
from engine.core.spec import AnchorSpec, ContainerSpec


def shell_text(spec: ContainerSpec | AnchorSpec, *, verb: str = "run") -> str:
    """Shell text, ready to paste: one option a line, quoted. Ends without a newline.

    `verb` is ``run`` (then with ``--rm``: pasting it twice works) or ``create``, which makes the container the
    API would make. An anchor is always created, then mounted. A root prints as ``"$(podman mount NAME)"``
    (rootless: paste inside ``podman unshare sh``).
    """
    if isinstance(spec, AnchorSpec):
        verb = "create"
    options, operands = rows(spec)
    lines = [f"podman {verb}", *(["  --rm"] if verb == "run" else [])]
    lines += ["  " + _quoted(word) for option in options for word in option.words]
    lines += ["    " + _quoted(word) for operand in operands for word in operand.words]
    text = " \\\n".join(lines)
    if isinstance(spec, AnchorSpec):
        text += f"\npodman mount {shlex.quote(spec.name)}"
    return text


def command(spec: ContainerSpec | AnchorSpec, roots: Mapping[str, str]) -> list[str]:
    """The argument list that `shell_text(verb="create")` runs, anchors replaced by their path in `roots`."""
    options, operands = rows(spec)
    words = [word for row in (*options, *operands) for word in row.words]
    return ["podman", "create", *("".join(_path(part, roots) for part in word) for word in words)]


def body(spec: ContainerSpec | AnchorSpec, roots: Mapping[str, str]) -> dict[str, Any]:
    """The body of ``POST /libpod/containers/create``; `roots` maps anchor names to their mounted paths.

    It carries the command line too, so ``podman inspect`` of a task's container shows how to make it again.
    """
    result: dict[str, Any] = {}
    options, operands = rows(spec)
    for row in (*options, *operands):
        _merge(result, _resolved(row.body, roots))
    result["containerCreateCommand"] = command(spec, roots)
    return result


def anchors_of(spec: ContainerSpec) -> frozenset[str]:
    """Names of the anchors whose mounted paths `body` needs."""
    named = {m.source.removeprefix(ROOT_PREFIX) for m in spec.mounts if m.source.startswith(ROOT_PREFIX)}
    return frozenset(named | ({spec.root} if spec.root else set()))


def _quoted(word: Word) -> str:
    """A shell word. A root is substituted inside double quotes, so any path stays one word."""
    parts = [
        f'"$(podman mount {shlex.quote(part.name)})"' if isinstance(part, RootOf) else shlex.quote(part)
        for part in word
        if part or len(word) == 1
    ]
    return "".join(parts)


def _path(part: str | RootOf, roots: Mapping[str, str]) -> str:
    if isinstance(part, str):
        return part
    if part.name not in roots:
        msg = f"the root of anchor {part.name!r} is not mounted; known: {sorted(roots)}"
        raise ValueError(msg)
    return roots[part.name]


def _resolved(value: Any, roots: Mapping[str, str]) -> Any:
    if isinstance(value, RootOf):
        return _path(value, roots)
    if isinstance(value, Mapping):
        return {key: _resolved(item, roots) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, roots) for item in value]
    return value


def _merge(into: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add `part`: tables are merged, lists joined."""
    for key, value in part.items():
        if isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), value)
        elif isinstance(value, list):
            into.setdefault(key, []).extend(value)
        else:
            into[key] = value
