"""A template cannot make the loader work without bounds, nor fail in Python's words."""

from __future__ import annotations

import json
import time

import pytest

from engine.core.errors import BadInput
from engine.core.loader import load_recipe

HEAD = 'recipe = 1\nmethod = "toy"\n[[steps]]\nname = "work"\n'
DEEP = {
    "parentheses": "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
    "lists": "{{ " + "[" * 50 + "1" + "]" * 50 + " }}",
    "not": "{{ " + "not " * 5000 + "1 }}",
    "sums": "{{ " + "1+" * 5000 + "1 }}",
    "minus": "{{ " + "-" * 50 + "1 }}",
    "if": "{% if 1 %}" * 50 + "{% endif %}" * 50,
    "for": "{% for a in [] %}" * 22 + "{% endfor %}" * 22,
    "for, deeper": "{% for a in [] %}" * 500 + "{% endfor %}" * 500,
    "members": "{{ params" + ".a" * 60 + " }}",
    "filters": "{{ 1" + "|abs" * 500 + " }}",
    "ternaries": "{{ " + "1 if 1 else " * 500 + "1 }}",
    "opened": "{{" * 5000,
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_templates_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match="nested too deeply"):
        load_recipe(HEAD + f"argv = ['echo', {json.dumps(DEEP[name])}]\n", "x")


def test_deep_expressions_are_refused() -> None:
    with pytest.raises(BadInput, match="not an expression: it is nested too deeply"):
        load_recipe(HEAD + f"argv = ['echo']\nwhen = '{'(' * 500}1{')' * 500}'\n", "x")


def test_a_huge_number_is_refused() -> None:
    with pytest.raises(BadInput, match="a number in it is too large"):
        load_recipe(HEAD + f"argv = ['echo', '{{{{ {'9' * 5000} }}}}']\n", "x")


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'aa'" + "|replace('a', 'aaaaaaaaaa')" * 15 + " }}",
        "{{ [" + "''," * 20_000 + "] | join('" + "x" * 50_000 + "') }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ 'a' * 100000000000 }}",
        "{{ 1 }}" * 20_000,
    ],
)
def test_loading_evaluates_nothing(template: str) -> None:
    began = time.thread_time()
    load_recipe(HEAD + f'argv = ["echo", "{template}"]\n', "x")
    assert time.thread_time() - began < 5
