"""``--param name=value``: whatever is typed becomes a value or a problem, never an error of Python's."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.errors import BadInput
from engine.core.params_text import params_from_text, toml_value
from engine.core.recipe import Param, Recipe, Step

RECIPE = Recipe(
    recipe=1,
    method="toy",
    params=(Param(name="word", type="str"), Param(name="any"), Param(name="opts", type="dict")),
    steps=(Step(name="a", argv=("true",)),),
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("true", True),
        ('["a", 1]', ["a", 1]),
        ("{ a = 1 }", {"a": 1}),
        ("'quoted'", "quoted"),
        ("plain words", "plain words"),
        ("1\na = 2", "1\na = 2"),
        ("2024-01-01", "2024-01-01"),
        ("[2024-01-01]", "[2024-01-01]"),
        ("nan", "nan"),
        ("9" * 5000, "9" * 5000),
        ("9" * 30, "9" * 30),
        ("[" * 3000, "[" * 3000),
    ],
)
def test_what_no_request_could_hold_is_text(text: str, value: Any) -> None:
    assert toml_value(text) == value


def test_members() -> None:
    assert params_from_text(RECIPE, ["word=7", "any=7", "opts.a.b=1", "opts.c=x"]) == {
        "word": "7",
        "any": 7,
        "opts": {"a": {"b": 1}, "c": "x"},
    }


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("word", "--param: 'word' has no value (write name=value)"),
        ("=x", "--param: '=x' has no value (write name=value)"),
        ("word=a\udcff", "--param: is not UTF-8: 'word=a\\udcff' (write it in UTF-8)"),
        ("opts" + ".a" * 3000 + "=1", "--param: opts: nested more than 24 levels deep (use fewer levels)"),
    ],
)
def test_refused(pair: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        params_from_text(RECIPE, [pair])
    assert str(caught.value) == message
