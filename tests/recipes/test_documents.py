"""Hostile text costs a message, not the machine."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.documents import (
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_KEY_PARTS,
    join,
    parse_json,
    parse_toml,
    shown,
)
from engine.core.errors import BadInput

ROOM = MAX_CHARACTERS - 100
SECONDS = 5.0
BOMBS = {
    "too large": "#" * (MAX_CHARACTERS + 1),
    "nested arrays": "a = " + "[" * (ROOM // 2) + "]" * (ROOM // 2),
    "nested tables": "a = " + "{a=" * (ROOM // 4),
    "one dotted key": ".".join("a" * (ROOM // 2)) + " = 1",
    "one quoted dotted key": ".".join(['"a"'] * (ROOM // 4)) + " = 1",
    "many dotted keys": "\n".join(".".join(["a"] * 100) + f".b{i} = 1" for i in range(1200)),
    "escaped quotes in a dotted key": '"' + '\\".' * (ROOM // 3),
    "quotes and dots": "\"'." * (ROOM // 3),
    "deep header, many keys": "[" + ".".join("a" * 90) + "]\n" + "\n".join(f"a.b{i}=1" for i in range(25_000)),
    "many tables": "[[a]]\n" * (ROOM // 6),
    "many headers": "\n".join(f"[a{i}]" for i in range(30_000)),
    "many values": "a = [" + "1," * (ROOM // 2) + "]",
    "a huge integer": "a = " + "9" * ROOM,
    "a huge hexadecimal": "a = 0x" + "f" * ROOM,
    "an open string": 'a = "' + "x" * ROOM,
    "an open comment": "#" * ROOM + "\x00",
    "escapes": 'a = "' + "\\u0000" * (ROOM // 6) + '"',
    "no end of lines": "\n" * ROOM + "=",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_bounded_time(name: str) -> None:
    began = time.thread_time()
    with pytest.raises(BadInput) as refused:
        parse_toml(BOMBS[name], "bomb.toml")
    assert time.thread_time() - began < SECONDS
    assert all(len(str(problem)) < 1000 for problem in refused.value.problems)
    assert all(problem.where == "bomb.toml" for problem in refused.value.problems)


def test_dots_elsewhere_than_in_a_key_are_fine() -> None:
    many = 5 * MAX_KEY_PARTS
    assert len(parse_toml("a = [" + "'x.y', " * many + "]", "x")["a"]) == many
    assert len(parse_toml("a = [" + "1.5, " * many + "]", "x")["a"]) == many
    assert parse_toml("a = '''\n" + "." * many + "\n" + "two words. " * many + "\n'''", "x")
    assert parse_toml("# " + "x.y " * many, "x") == {}
    with pytest.raises(BadInput, match="line 2: a key of more than 100 parts"):
        parse_toml("b = 1\n" + " . ".join(["a"] * (MAX_KEY_PARTS + 1)) + " = 1", "x")


def test_a_json_bomb_is_refused() -> None:
    for text in ("[" * (ROOM // 2), "9" * ROOM, '{"a":' * (ROOM // 5), "[" + "1," * (ROOM // 2) + "1]"):
        with pytest.raises(BadInput):
            parse_json(text, "bomb.json")


def test_what_is_within_the_bounds_is_read() -> None:
    assert parse_toml("a = [" + "1," * (MAX_ITEMS - 2) + "]", "x")["a"][0] == 1
    deep = MAX_DEPTH
    assert parse_toml("a = " + "[" * deep + "]" * deep, "x")
    with pytest.raises(BadInput, match="nested more than"):
        parse_toml("a = " + "[" * (deep + 1) + "]" * (deep + 1), "x")
    with pytest.raises(BadInput, match="more than 10000 values"):
        parse_toml("a = [" + "1," * MAX_ITEMS + "]", "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1, "a": 2}', "key 'a' appears twice in one object"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ('{"a": Infinity}', "Infinity is no number of JSON"),
        ('{"a": "\\ud800"}', "j: a: contains half of a surrogate pair"),
        ('{"a\\u0000b": 1}', "key 'a\\x00b' contains a NUL character"),
        ('{"a": "\\u0000"}', "j: a: contains a NUL character"),
        ('{"a": 1e999}', "must be a finite number, got inf"),
        ('{\n  "a": tru\n}', "j: line 2, column 8: not valid JSON"),
        ("", "j: line 1, column 1: not valid JSON"),
    ],
)
def test_json_that_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_json(text, "j")
    assert said in str(refused.value)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_gives_data_or_bad_input(text: str) -> None:
    for parse in (parse_toml, parse_json):
        with contextlib.suppress(BadInput):
            parse(text, "x")


@settings(deadline=None)
@given(st.text())
def test_what_is_shown_is_one_short_printable_line(text: str) -> None:
    assert len(shown(text)) <= 62
    assert shown(text).isprintable()
    assert join("a", text).isprintable()


def test_key_paths() -> None:
    assert join(join("steps", 1), "argv") == "steps[1].argv"
    assert join("env", "A B") == 'env."A B"'
    assert join("", "env") == "env"
