"""Whatever a recipe file holds: a recipe, or every problem with its place."""

from __future__ import annotations

import contextlib
import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.adapters.recipes import read_recipe
from engine.cli.render import read_request
from engine.core.errors import BadInput, EngineError
from engine.core.lint import warnings
from engine.core.loader import load_recipe
from engine.core.render import render
from engine.core.skeleton import skeleton
from engine.core.structure import unstructure

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "recipes").glob("*.toml"))
ALL = [*SHIPPED, *sorted((ROOT / "tests/golden/recipes").glob("*.toml"))]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_recipes_load_and_survive_being_written_in_full(path: Path) -> None:
    recipe = read_recipe(path)
    resolved = tomli_w.dumps(unstructure(recipe), multiline_strings=True)
    assert load_recipe(resolved, "resolved.toml") == recipe


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_nothing_is_to_be_said_about_the_shipped_recipes(path: Path) -> None:
    assert [str(warning) for warning in warnings(read_recipe(path), path.name)] == []
    assert path.read_text().startswith("#:schema ../schema/recipe.schema.json\n")


def test_there_are_shipped_recipes() -> None:
    assert {"buildArch", "createrepo"} <= {path.stem for path in SHIPPED}


def test_a_new_recipe_is_fit_for_use() -> None:
    recipe = load_recipe(skeleton("hello"), "hello.toml")
    assert recipe.method == "hello"
    assert warnings(recipe, "hello.toml") == ()


def test_the_format_is_judged_before_anything_else() -> None:
    with pytest.raises(BadInput) as refused:
        load_recipe('recipe = 9\nnew = { words = "of a later engine" }\nsteps = 7\n', "x.toml")
    assert [problem.path for problem in refused.value.problems] == ["recipe"]


# --- any change to a real recipe gives a recipe or problems, never another error

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        ["{{ params }}", "{{ params.x }}", "{{", "}}", "{% if %}", "item.name", "a.b.c", "/", "/etc", "../x", "-x"]
    ),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, (*path, index))


REQUESTS = {
    "buildArch": [read_request(ROOT / "tests/golden/buildArch/macros_and_env/request.toml")],
    "createrepo": [read_request(next((ROOT / "tests/golden/createrepo").glob("*/request.toml")))],
    "toy": [read_request(ROOT / "tests/golden/toy/most/request.toml")],
}
DATA = [tomllib.loads(path.read_text()) for path in ALL]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_change_gives_a_recipe_or_problems(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(DATA)))
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(list(_places(document))))
        owner: Any = document
        for key in parents:
            owner = owner[key]
        value = data.draw(VALUES)
        if value is not None:
            owner[last] = value
        else:
            del owner[last]
        if not document:
            return
    with contextlib.suppress(BadInput):
        recipe = load_recipe(tomli_w.dumps(document), "x.toml")
        warnings(recipe, "x.toml")
        for request in REQUESTS.get(recipe.method, []):
            with contextlib.suppress(EngineError):
                render(recipe, request.task, request.facts)
