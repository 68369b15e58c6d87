"""The schemas are those of the classes, they take what the loader takes and refuse what an editor can refuse."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
from jsonschema import Draft202012Validator

from engine.core import recipe as recipe_classes
from engine.core.schema import json_schema
from tools import schema

ROOT = Path(__file__).parents[2]
ERRORS = ROOT / "tests/golden/errors"
RECIPES = [*sorted((ROOT / "recipes").glob("*.toml")), *sorted((ROOT / "tests/golden/recipes").glob("*.toml"))]
REQUESTS = sorted((ROOT / "tests/golden").glob("*/*/request.toml"))
# Cases that break a rule which a schema can say.
SAID = [
    "no_coercion", "unknown_keys", "missing_keys", "wrong_words", "wrong_shapes", "out_of_bounds", "nothing_in_it",
    "names", "sizes_and_modes", "format_is_text", "format_newer", "format_missing", "everything_at_once",
]  # fmt: skip
SAID_OF_REQUESTS = ["request_unknown_keys", "request_no_coercion", "request_without_method"]


def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((ROOT / "schema" / f"{name}.schema.json").read_text()))


@pytest.mark.parametrize("path", schema.texts(), ids=lambda path: path.name)
def test_schemas_are_fresh(path: Path) -> None:
    committed = path.read_text() if path.exists() else ""
    assert committed == schema.texts()[path], f"{path.relative_to(ROOT)} is not what the classes say: {schema.FIX}"


@pytest.mark.parametrize("name", schema.SCHEMAS)
def test_schemas_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(_validator(name).schema)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_valid(path: Path) -> None:
    assert _messages("recipe", path) == []


def test_requests_are_valid() -> None:
    cases = [path for path in REQUESTS if "errors" not in path.parts]
    assert len(cases) >= 20
    assert {str(path): _messages("request", path) for path in cases if _messages("request", path)} == {}


@pytest.mark.parametrize("case", SAID)
def test_an_editor_sees_the_error(case: str) -> None:
    assert _messages("recipe", ERRORS / case / "recipe.toml")


@pytest.mark.parametrize("case", SAID_OF_REQUESTS)
def test_an_editor_sees_the_error_in_a_request(case: str) -> None:
    assert _messages("request", ERRORS / case / "request.toml")


def test_accepted_recipes_are_accepted_by_the_schema() -> None:
    for case in sorted(ERRORS.glob("warn_*")):
        assert _messages("recipe", case / "recipe.toml") == [], case.name


def test_null_is_for_json_only() -> None:
    request = {"method": "toy", "parent": None, "facts": {"repo": None}}
    assert list(_validator("request").iter_errors(request)) == []
    assert list(_validator("recipe").iter_errors({"recipe": 1, "method": "toy", "steps": None}))


def _messages(name: str, path: Path) -> list[str]:
    return [error.message for error in _validator(name).iter_errors(tomllib.loads(path.read_text()))]


def _classes() -> list[type]:
    return [value for value in vars(recipe_classes).values() if isinstance(value, type) and attrs.has(value)]


def test_every_key_of_a_recipe_is_described() -> None:
    document = json.loads((ROOT / "schema/recipe.schema.json").read_text())
    tables = {"Recipe": document, **document["$defs"]}
    assert set(tables) == {cls.__name__ for cls in _classes()}
    for cls in _classes():
        table = tables[cls.__name__]
        assert table["description"]
        assert table["additionalProperties"] is False
        assert list(table["properties"]) == [field.name for field in attrs.fields(cls)]
        for key, value in table["properties"].items():
            assert len(value["description"]) > 5, f"{cls.__name__}.{key}"


def test_defaults_are_valid_themselves() -> None:
    document = json.loads((ROOT / "schema/recipe.schema.json").read_text())
    checked = 0
    for table in [document, *document["$defs"].values()]:
        for key, value in table["properties"].items():
            if "default" in value:
                checked += 1
                own: dict[str, Any] = {**value, "$defs": document["$defs"]}
                assert list(Draft202012Validator(own).iter_errors(value["default"])) == [], key
    assert checked > 40


def test_any_class_has_a_schema() -> None:
    @attrs.frozen
    class Leaf:
        """A leaf."""

        size: int = recipe_classes.doc("Size.", 3, ge=1)

    assert json_schema(Leaf, title="Leaf") == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Leaf",
        "description": "A leaf.",
        "type": "object",
        "properties": {"size": {"description": "Size.", "type": "integer", "minimum": 1, "default": 3}},
        "additionalProperties": False,
        "$defs": {},
    }
