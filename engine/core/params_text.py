"""``--param name=value`` on a command line to typed values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.core import policy
from engine.core.documents import MAX_DEPTH, parse_toml
from engine.core.errors import BadInput, Problem
from engine.core.recipe import Recipe

_AS_WRITTEN = {"str", "path", "arch"}


def params_from_text(recipe: Recipe, pairs: Iterable[str]) -> dict[str, Any]:
    """Values by name; ``opts.repo_id=3`` makes a table.

    A parameter of type str, path or arch takes the text as it is; others take a TOML value (``true``, ``7``, ``["a"]``,
    ``{ a = 1 }``) and, where the text is none, the text.
    """
    types = {param.name: param.type for param in recipe.params}
    values: dict[str, Any] = {}
    problems = []
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            problems.append(Problem("--param", "", f"{pair!r} has no value", "write name=value"))
            continue
        first, *rest = name.split(".")
        if complaint := policy.text_complaint(pair):
            problems.append(Problem("--param", "", *complaint))
            continue
        if len(rest) >= MAX_DEPTH:
            problems.append(Problem("--param", first, f"nested more than {MAX_DEPTH} levels deep", "use fewer levels"))
            continue
        owner = values
        for here, following in zip([first, *rest], [*rest, ""], strict=True):
            if not following:
                owner[here] = text if not rest and types.get(first) in _AS_WRITTEN else toml_value(text)
                break
            inner = owner.setdefault(here, {})
            if not isinstance(inner, dict):
                problems.append(Problem("--param", name, f"{here} has a value already", "give a table or its members"))
                break
            owner = inner
    if problems:
        raise BadInput(problems)
    return values


def toml_value(text: str) -> Any:
    """The TOML value that `text` is, else the text itself: also where a request file could not hold the value."""
    if "\n" in text:
        return text
    try:
        parsed = parse_toml(f"value = {text}", "--param")
    except BadInput:
        return text
    return parsed["value"] if set(parsed) == {"value"} else text
