"""How a field of a recipe, a request or the settings is described: for the loader, the schemas and the reference."""

from __future__ import annotations

from typing import Any, Literal

from attrs import NOTHING, field

Kind = Literal[
    "template",
    "templates",
    "expression",
    "name",
    "method",
    "word",
    "size",
    "octal",
    "file name",
    "glob",
    "variable name",
    "exit code",
    "mount source",
    "mount target",
    "tmpfs target",
    "image",
    "path",
    "file path",
    "made directory",
    "host name",
]
"""What the text of a key is; `engine.core.kinds` holds the check and the schema of each."""


def doc(
    text: str,
    default: Any = NOTHING,
    *,
    factory: Any = None,
    kind: Kind | None = None,
    keys: Kind | None = None,
    ge: float | None = None,
    le: int | None = None,
    gt: int | None = None,
    some: bool = False,
) -> Any:
    """An attrs field with the description that the schema and the reference show, and what its value must be.

    `kind` of each string in the value, `keys` of a table's keys, bounds `ge`, `gt`, `le` of a number, `some`
    for an array that must not be empty.
    """
    said = {"doc": text, "kind": kind, "keys": keys, "ge": ge, "gt": gt, "le": le, "some": some or None}
    metadata = {key: value for key, value in said.items() if value is not None}
    if factory is not None:
        return field(factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)
