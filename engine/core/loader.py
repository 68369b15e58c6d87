"""Recipe text to a checked `Recipe`, or every problem it has.

Order: TOML and its bounds, the format version, the values of every key, then what they say together. A pure
function over text; reading files is `engine.adapters.recipes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.core import references
from engine.core.documents import described, parse_toml
from engine.core.errors import BadInput, Problem
from engine.core.recipe import FORMAT, Recipe
from engine.core.rules import RULES
from engine.core.structure import make_converter, structure_with

_CONVERTER = make_converter(RULES)


def load_recipe(text: str, where: str) -> Recipe:
    """The recipe in `text`. Raises BadInput with all problems; `where` is the file's name in them."""
    data = parse_toml(text, where)
    if problems := list(_format_problems(data, where)):
        raise BadInput(problems)
    recipe = structure_with(_CONVERTER, data, Recipe, where)
    if problems := [Problem(where, *found) for found in references.problems(recipe)]:
        raise BadInput(problems)
    return recipe


def _format_problems(data: Mapping[str, Any], where: str) -> Iterator[Problem]:
    reads = f"this engine reads recipe format {FORMAT}"
    if "recipe" not in data:
        yield Problem(where, "recipe", f"required key 'recipe' is missing: {reads}", f"begin with: recipe = {FORMAT}")
        return
    found = data["recipe"]
    if type(found) is not int or found < 1:
        message = f"must be the number of a recipe format, got {described(found)}"
        yield Problem(where, "recipe", message, f"write: recipe = {FORMAT}")
    elif found > FORMAT:
        cure = f"upgrade engine, or write the recipe in format {FORMAT}"
        yield Problem(where, "recipe", f"{reads}, got format {found}", cure)
