"""Text to plain data, TOML or JSON, with bounds: a hostile file costs a message, not the machine.

Pure functions over text. `where` is the file's name for the message. What comes out holds only str, int,
float, bool, list, dict (and None from JSON), at most `MAX_ITEMS` of them, `MAX_DEPTH` deep, without NUL.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any

from engine.core.errors import BadInput, Problem

MAX_CHARACTERS = 256 * 1024
MAX_DEPTH = 24
MAX_ITEMS = 10_000
# The time tomllib takes for one key grows with the square of its dotted parts.
MAX_KEY_PARTS = 100
MAX_INTEGER = 2**63 - 1

_AT_LINE_COLUMN = re.compile(r"\s*\(at (?:line (?P<line>\d+), column (?P<column>\d+)|(?P<end>end of document))\)$")
_TYPE_WORDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "boolean"),
    (str, "string"),
    (int, "integer"),
    (float, "number"),
    ((list, tuple), "an array"),
    (Mapping, "a table"),
    ((date, time), "a date or time"),
)
_KEY_TOKEN = re.compile(r"""(?P<part>"(?:\\.|[^"\\])*"?|'[^']*'?|[A-Za-z0-9_-]+)|(?P<dot>\.)|(?P<space>[ \t]+)|.""")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """A TOML document as plain data; BadInput with line and column when it is none, or past the bounds."""
    _check_size(text, where)
    _check_keys(text, where)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place, message = _toml_place(str(error))
        raise BadInput([Problem(where, place, f"not valid TOML: {message}")]) from None
    except RecursionError:
        raise BadInput([_too_deep(where, "")]) from None
    except ValueError as error:  # an integer of thousands of digits, a date that does not exist
        raise BadInput([Problem(where, "", f"not valid TOML: {error}")]) from None
    _check_values(data, where)
    return data


def parse_json(text: str, where: str) -> Any:
    """A JSON document as plain data, with the bounds of `parse_toml`; a repeated key is refused."""
    _check_size(text, where)
    try:
        data = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadInput([Problem(where, place, f"not valid JSON: {error.msg}")]) from None
    except RecursionError:
        raise BadInput([_too_deep(where, "")]) from None
    except ValueError as error:
        raise BadInput([Problem(where, "", f"not valid JSON: {error}")]) from None
    _check_values(data, where)
    return data


def join(path: str, key: str | int) -> str:
    """`path` extended by a table key or an array index: ``steps[1].argv[3].when``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    word = key if _BARE_KEY.fullmatch(key) else shown(key, quote='"')
    return f"{path}.{word}" if path else word


def shown(value: object, quote: str = "'") -> str:
    """A value as a message quotes it: one line, at most 60 characters, nothing that moves the cursor."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "(more than 64 bits)"
    if not isinstance(value, str):
        return str(value)
    clean = value.encode("unicode_escape").decode("ascii") if not value.isprintable() else value
    return quote + (clean if len(clean) <= 60 else clean[:57] + "...") + quote


def described(value: object) -> str:
    """What was found, with its TOML type: ``string 'yes'``, ``integer 7``, ``an array``."""
    for types, word in _TYPE_WORDS:
        if isinstance(value, types):
            return f"{word} {shown(value)}" if isinstance(value, str | int | float) else word
    return f"a {type(value).__name__}"


def _check_keys(text: str, where: str) -> None:
    """Refuse ``a.a.a.…`` before tomllib meets it. Linear: each character belongs to one token."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") < MAX_KEY_PARTS:
            continue
        parts, before = 1, ""
        for token in _KEY_TOKEN.finditer(line):
            kind = token.lastgroup or ""
            if kind == "space":
                continue
            if kind != "dot":
                parts = parts if (before, kind) == ("dot", "part") else 1
            elif before == "part":
                parts += 1
            before = kind
            if parts > MAX_KEY_PARTS:
                message = f"a key of more than {MAX_KEY_PARTS} parts"
                raise BadInput([Problem(where, f"line {number}", message, "use fewer levels")])


def _check_size(text: str, where: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise BadInput([too_large(where)])


def too_large(where: str) -> Problem:
    """The problem of a file beyond `MAX_CHARACTERS`; also for readers that stop before decoding."""
    return Problem(where, "", f"larger than {MAX_CHARACTERS // 1024} KiB", "no recipe or request needs that much")


def _too_deep(where: str, path: str) -> Problem:
    return Problem(where, path, f"nested more than {MAX_DEPTH} levels deep", "use fewer levels")


def _toml_place(message: str) -> tuple[str, str]:
    found = _AT_LINE_COLUMN.search(message)
    if found is None:
        return "", message
    place = "end of file" if found["end"] else f"line {found['line']}, column {found['column']}"
    return place, message[: found.start()]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"key {shown(key)} appears twice in one object")
        table[key] = value
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _check_values(data: Any, where: str) -> None:
    """Walk without recursion: depth comes from dotted keys too, which the parser reads in a loop."""
    problems: list[Problem] = []
    stack: list[tuple[str, Any, int]] = [("", data, 0)]
    count = 0
    while stack:
        path, value, depth = stack.pop()
        count += 1
        if count > MAX_ITEMS:
            raise BadInput(
                [Problem(where, "", f"more than {MAX_ITEMS} values", "no recipe or request needs that many")]
            )
        if depth > MAX_DEPTH:
            raise BadInput([_too_deep(where, path if len(path) < 200 else "")])
        if isinstance(value, dict):
            problems.extend(Problem(where, path, f"key {shown(k)} {p}") for k in value if (p := _text_problem(k)))
        message = _value_problem(value)
        if message:
            problems.append(Problem(where, path, message))
        stack.extend((join(path, key), inner, depth + 1) for key, inner in _children(value))
    if problems:
        raise BadInput(problems)


def _children(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _value_problem(value: Any) -> str:
    match value:
        case str():
            return _text_problem(value)
        case bool():
            return ""
        case int() if abs(value) > MAX_INTEGER:
            return "integer of more than 64 bits"
        case float() if not math.isfinite(value):
            return f"must be a finite number, got {value}"
        case date() | time():
            return f'a date or time has no meaning here, write it as a string: "{value}"'
    return ""


def _text_problem(text: str) -> str:
    if "\0" in text:
        return "contains a NUL character"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "contains half of a surrogate pair, which is no character"
    return ""
