"""A task's parameters against the recipe's signature: types, defaults, nothing coerced."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.core import policy
from engine.core.errors import Problem, did_you_mean
from engine.core.recipe import Param

_ARCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,15}\Z")  # what the hub allows (contract section 8)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "arch": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list": (list, tuple),
    "dict": (Mapping,),
    "tag": (int, str, Mapping),
}


def check_params(params: tuple[Param, ...], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The named values with defaults filled in, and everything that is wrong with them."""
    problems = []
    known = [param.name for param in params]
    for name in given:
        if name not in known:
            problems.append(Problem("request", f"params.{name}", "unknown parameter", did_you_mean(name, known)))
    values: dict[str, Any] = {}
    for param in params:
        place = f"params.{param.name}"
        if param.name not in given or (given[param.name] is None and param.optional):
            values[param.name] = param.default
            if not param.optional:
                problems.append(Problem("request", place, "a value is missing", param.summary))
            continue
        value = given[param.name]
        values[param.name] = value
        complaint = type_complaint(param, value)
        if complaint:
            problems.append(Problem("request", place, *complaint))
    return values, problems


def type_complaint(param: Param, value: Any) -> policy.Complaint | None:
    """What is wrong with a value for this parameter's type, or None."""
    if param.type == "any":
        return None
    wanted = _TYPES[param.type]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        return f"must be {_article(param.type)}, got {kind(value)} {value!r}"[:200], param.summary
    if param.type == "path":
        return policy.path_complaint(str(value), absolute=False)
    if param.type == "arch" and not _ARCH.match(str(value)):
        return f"{value!r} is not an architecture's name", "letters, digits, '_' and '-'; at most 16"
    if param.type in {"str", "tag"} and isinstance(value, str) and "\x00" in value:
        return "has a NUL character", ""
    return None


def kind(value: Any) -> str:
    """A value's type in TOML's words."""
    names = {bool: "boolean", int: "integer", float: "float", str: "string", list: "array", tuple: "array"}
    if value is None:
        return "nothing"
    return "table" if isinstance(value, Mapping) else names.get(type(value), type(value).__name__)


def _article(word: str) -> str:
    names = {
        "str": "a string",
        "int": "an integer",
        "float": "a number",
        "bool": "a boolean",
        "list": "an array",
        "dict": "a table",
        "path": "a relative path",
        "arch": "an architecture's name",
        "tag": "a tag (id, name or table)",
    }
    return names[word]
