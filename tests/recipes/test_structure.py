"""Nothing is coerced; what was structured can be written again."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any, Literal

import attrs
import pytest
import tomli_w
from attrs import frozen

from engine.core.documents import parse_toml
from engine.core.errors import BadInput
from engine.core.facts import Facts, RenderRequest
from engine.core.structure import structure, toml_text, unstructure


@frozen(kw_only=True)
class Inner:
    value: int


@frozen(kw_only=True)
class Sample:
    text: str = ""
    whole: int = 0
    number: float = 0.0
    yes: bool = False
    word: Literal["a", "b"] = "a"
    maybe: str | None = None
    either: str | int = 0
    group: str | Inner = ""
    listed: tuple[int, ...] = ()
    named: Mapping[str, float] = attrs.field(factory=dict)
    inner: Inner | None = None
    anything: Any = None


FITS: dict[str, list[Any]] = {
    "text": ["", "no", "7"],
    "whole": [0, -7],
    "number": [1.5, 2],
    "yes": [True, False],
    "word": ["a", "b"],
    "maybe": ["x", None],
    "either": ["7", 7],
    "group": ["x", {"value": 1}],
    "listed": [[], [1, 2], (1,)],
    "named": [{}, {"a": 1.5, "b": 2}],
    "inner": [{"value": 1}, None],
    "anything": [1, "x", None, [{"a": [True]}]],
}
EVERYTHING: list[Any] = [
    "", "no", "7", "a", 0, -7, 1, 1.5, True, False, None, [], [1, 2], ["1"], [True], {}, {"a": 1.5, "b": 2},
    {"a": "1"}, {"value": 1}, {"value": "1"}, {"value": True},
]  # fmt: skip


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("key", FITS)
def test_a_value_is_taken_as_it_is_or_refused(key: str) -> None:
    for value in FITS[key]:
        taken = getattr(structure({key: value}, Sample, "x"), key)
        plain = unstructure(taken)
        assert plain == (list(value) if isinstance(value, tuple) else value)
        assert not isinstance(value, bool | str | int) or type(taken) in {type(value), float}
    fitting = [list(value) if isinstance(value, tuple) else value for value in FITS[key]]
    if key == "anything":
        return
    refused = 0
    for value in EVERYTHING:
        if any(_same(value, fit) for fit in fitting):
            continue
        try:
            plain = unstructure(getattr(structure({key: value}, Sample, "x"), key))
        except BadInput:
            refused += 1
            continue
        same_type = type(plain) is type(value) or (type(plain), type(value)) == (float, int)
        assert same_type, f"{value!r} became {plain!r}"
        assert plain == value
    assert refused >= 9


def test_every_error_at_once_below_a_prefix() -> None:
    data = {"text": 1, "listed": [1, "2", True], "named": {"a": "x"}, "inner": {"valeu": 1}, "extra": 1}
    with pytest.raises(BadInput) as refused:
        structure(data, Sample, "file.toml", "table.key")
    assert [(problem.path, problem.message) for problem in refused.value.problems] == [
        ("table.key", "unknown key 'extra'"),
        ("table.key.inner", "unknown key 'valeu'"),
        ("table.key.inner.value", "required key 'value' is missing"),
        ("table.key.listed[1]", "must be an integer, got string '2'"),
        ("table.key.listed[2]", "must be an integer, got boolean true"),
        ("table.key.named.a", "must be a number, got string 'x'"),
        ("table.key.text", "must be a string, got integer 1"),
    ]


@pytest.mark.parametrize("data", ["text", 7, [], None, True])
def test_a_document_that_is_no_table(data: Any) -> None:
    with pytest.raises(BadInput, match="must be a table, got"):
        structure(data, Sample, "x")


def test_an_object_of_the_class_is_taken_as_it_is() -> None:
    inner = Inner(value=1)
    assert structure({"inner": inner, "group": "x"}, Sample, "x").inner is inner


def test_keys_of_any_kind_do_not_break_the_message() -> None:
    with pytest.raises(BadInput) as refused:
        structure({"a\x1b[2J\nb": 1, "": 2, "x" * 500: 3}, Sample, "x")
    for line in str(refused.value).splitlines():
        assert line.isprintable()
        assert len(line) < 300
    assert len(refused.value.problems) == 3


def test_unstructure_leaves_none_out_and_refuses_it_in_a_list() -> None:
    assert unstructure({"a": None, "b": {"c": None}, "d": (1, 2)}) == {"b": {}, "d": [1, 2]}
    with pytest.raises(ValueError, match="None in a list"):
        unstructure({"a": [None]})


def test_facts_survive_toml() -> None:
    request = RenderRequest(method="toy", params={"a": [1, {"b": True}]}, facts=Facts(image="x"), task_id=7)
    text = tomli_w.dumps(unstructure(request))
    assert structure(parse_toml(text, "x"), RenderRequest, "x") == request


@pytest.mark.parametrize(
    "content", ["one\ntwo\n", "one\r\ntwo\r\n", "bare\rcr", "\n", "\r\n", '"""\n\\\n', "tab\t\x7f\n"]
)
def test_text_comes_back_as_it_was(content: str) -> None:
    data = {"files": [{"content": content, "lines": "a\nb"}]}
    assert tomllib.loads(toml_text(data)) == data


def test_text_of_several_lines_stands_on_several_lines() -> None:
    assert toml_text({"content": "one\ntwo\n"}) == 'content = """\none\ntwo\n"""\n'
