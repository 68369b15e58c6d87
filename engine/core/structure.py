"""Plain data to frozen classes and back, strictly: nothing is coerced and every error is told at once.

cattrs alone turns ``"no"`` into True and 7 into ``"7"``; the hooks here take a value only if it is what the
class says. Recipes, requests, facts and settings all come through `structure`; only `unstructure` goes back.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs
import tomli_w
from cattrs import Converter

from engine.core.documents import described, join, shown
from engine.core.errors import BadInput, Problem, did_you_mean
from engine.core.kinds import KINDS

T = TypeVar("T")
Found = tuple[str, str, str]
"""One thing wrong below some value: key path from there, message, cure."""
Rule = Callable[[Any], Iterator[Found]]
"""What must hold within one object beyond its single values."""


class Refused(ValueError):
    """Values below one place that do not fit; travels inside cattrs only."""

    def __init__(self, *found: Found) -> None:
        self.found = found
        super().__init__("; ".join(message for _, message, _ in found))

    def below(self, key: str | int) -> Iterator[Found]:
        """The same, seen from the value that holds this one under `key`."""
        return _below(join("", key), self.found)


def _below(prefix: str, found: tuple[Found, ...]) -> Iterator[Found]:
    for path, message, cure in found:
        dot = "." if prefix and path and not path.startswith("[") else ""
        yield f"{prefix}{dot}{path}", message, cure


def structure(data: Any, cls: type[T], where: str, prefix: str = "") -> T:
    """`data` as an object of `cls`; BadInput with every problem, each at `prefix` + its key path in `where`.

    Shapes: TOML or JSON values; tables for attrs classes and mappings, arrays (or tuples) for tuples, null for
    ``X | None``. An object that is already of its class is taken as it is.
    """
    return structure_with(_PLAIN, data, cls, where, prefix)


def structure_with(converter: Converter, data: Any, cls: type[T], where: str, prefix: str = "") -> T:
    """`structure` by a converter of `make_converter`."""
    try:
        return converter.structure(data, cls)
    except Refused as refused:
        raise BadInput(Problem(where, *found) for found in _below(prefix, refused.found)) from None


def unstructure(value: Any) -> Any:
    """Classes as tables, tuples as lists; keys whose value is None are left out, as TOML cannot say None.

    Raises ValueError for None within a list: leaving it out would move its neighbours.
    """
    if attrs.has(type(value)):
        return unstructure({field.name: getattr(value, field.name) for field in attrs.fields(type(value))})
    if isinstance(value, Mapping):
        return {key: unstructure(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        if any(item is None for item in value):
            raise ValueError("None in a list cannot be written as TOML")
        return [unstructure(item) for item in value]
    return value


def toml_text(value: Any) -> str:
    """`unstructure`d, as TOML: text of several lines as such, unless it holds CR LF, which a reader may change."""
    data = unstructure(value)
    return tomli_w.dumps(data, multiline_strings=not _holds_cr(data))


def _holds_cr(data: Any) -> bool:
    if isinstance(data, Mapping):
        return any(map(_holds_cr, data.values()))
    return any(map(_holds_cr, data)) if isinstance(data, list) else isinstance(data, str) and "\r" in data


def make_converter(rules: Mapping[type, Rule] | None = None) -> Converter:
    """A strict converter; `rules` are asked about each object of their class once its values fit."""
    converter = Converter()
    for cls, word in ((str, "a string"), (bool, "a boolean"), (int, "an integer")):
        converter.register_structure_hook(cls, partial(_exactly, word))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(_is_literal, _literal)
    converter.register_structure_hook_factory(_is_array, partial(_array_hook, converter))
    converter.register_structure_hook_factory(_is_table, partial(_table_hook, converter))
    converter.register_structure_hook_factory(_is_union, partial(_union_hook, converter))
    converter.register_structure_hook_factory(attrs.has, partial(_class_hook, converter, rules or {}))
    return converter


def _exactly(word: str, value: Any, cls: type[T]) -> T:
    if type(value) is not cls:
        raise Refused(("", f"must be {word}, got {described(value)}", _quoting_cure(value, cls)))
    return value


def _quoting_cure(value: Any, cls: type) -> str:
    if isinstance(value, str) and cls is bool and value.lower() in {"true", "false", "yes", "no"}:
        return f"write {'true' if value.lower() in {'true', 'yes'} else 'false'} without quotes"
    if isinstance(value, str) and cls is int and value.isdecimal():
        return f"write {shown(value)[1:-1]} without quotes"
    if isinstance(value, int | float) and cls is str:
        return f'write "{shown(value)}"'
    return ""


def _number(value: Any, _cls: type) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(("", f"must be a number, got {described(value)}", ""))
    return float(value)


def _literal(value: Any, cls: Any) -> Any:
    allowed = get_args(cls)
    if not isinstance(value, str | int) or value not in allowed:
        words = ", ".join(shown(item) for item in allowed)
        found = shown(value) if isinstance(value, str) else described(value)
        raise Refused(("", f"must be one of {words}, got {found}", ""))
    return value


def _is_literal(cls: Any) -> bool:
    return get_origin(cls) is Literal


def _is_array(cls: Any) -> bool:
    return get_origin(cls) is tuple and len(get_args(cls)) == 2 and get_args(cls)[1] is ...


def _is_table(cls: Any) -> bool:
    return get_origin(cls) in {Mapping, dict}


def _is_union(cls: Any) -> bool:
    return get_origin(cls) in {Union, types.UnionType}


def _array_hook(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    element = get_args(cls)[0]

    def hook(value: Any, _cls: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            example = f'write ["{value}"]' if isinstance(value, str) and len(value) < 60 else ""
            raise Refused(("", f"must be an array, got {described(value)}", example))
        return tuple(_each(converter, element, enumerate(value)))

    return hook


def _table_hook(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    element = get_args(cls)[1]

    def hook(value: Any, _cls: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Refused(("", f"must be a table, got {described(value)}", ""))
        return dict(zip(value, _each(converter, element, value.items()), strict=True))

    return hook


def _each(converter: Converter, cls: Any, items: Any) -> list[Any]:
    """Every item structured; the problems of all items together."""
    done: list[Any] = []
    found: list[Found] = []
    for key, item in items:
        try:
            done.append(converter.structure(item, cls))
        except Refused as refused:
            found.extend(refused.below(key))
    if found:
        raise Refused(*found)
    return done


def _union_hook(converter: Converter, cls: Any) -> Callable[[Any, Any], Any]:
    members = [member for member in get_args(cls) if member is not type(None)]
    optional = len(members) < len(get_args(cls))

    def hook(value: Any, _cls: Any) -> Any:
        if value is None and optional:
            return None
        if len(members) == 1:
            return converter.structure(value, members[0])
        for member in members:
            if isinstance(value, Mapping) if attrs.has(member) else type(value) is member:
                return converter.structure(value, member)
        words = " or ".join(_WORDS.get(member, "a table") for member in members)
        raise Refused(("", f"must be {words}, got {described(value)}", ""))

    return hook


_WORDS = {str: "a string", int: "an integer", float: "a number", bool: "a boolean"}


def _class_hook(converter: Converter, rules: Mapping[type, Rule], cls: Any) -> Callable[[Any, Any], Any]:
    """A class from a table. Not cattrs' own hook: making its code takes longer than reading a recipe once."""
    hints = get_type_hints(cls)
    fields = {field.name: field for field in attrs.fields(cls)}
    hooks = {name: _value_hook(converter, field, hints[name]) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.default is attrs.NOTHING]
    rule = rules.get(cls)

    def hook(value: Any, _cls: Any) -> Any:
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise Refused(("", f"must be a table, got {described(value)}", ""))
        built: dict[str, Any] = {}
        found: list[Found] = [(name, f"required key '{name}' is missing", "") for name in required if name not in value]
        for key, item in value.items():
            if key not in hooks:
                found.append(("", f"unknown key {shown(key)}", did_you_mean(str(key), sorted(fields))))
                continue
            try:
                built[key] = hooks[key](item)
            except Refused as refused:
                found.extend(refused.below(key))
        if found:
            raise Refused(*found)
        made = cls(**built)
        if rule is not None and (found := list(rule(made))):
            raise Refused(*found)
        return made

    return hook


def _value_hook(converter: Converter, field: attrs.Attribute[Any], cls: Any) -> Callable[[Any], Any]:
    checks = tuple(_checks(field.metadata))

    def hook(value: Any) -> Any:
        # The checks look at what was written, so that a wrong neighbour in an array does not hide their finds.
        complaints = [found for check in checks for found in check(value)]
        try:
            built = converter.structure(value, cls)
        except Refused as refused:
            misfits = {path for path, _, _ in refused.found}
            raise Refused(*refused.found, *(found for found in complaints if found[0] not in misfits)) from None
        if complaints:
            raise Refused(*complaints)
        return built

    return hook


def _checks(metadata: Mapping[str, Any]) -> Iterator[Rule]:
    if metadata.get("some"):
        yield _not_empty
    if "kind" in metadata:
        yield partial(_of_kind, KINDS[metadata["kind"]].check, deep=metadata["kind"] == "templates")
    if "keys" in metadata:
        yield partial(_keys_of_kind, KINDS[metadata["keys"]].check)
    if metadata.keys() & {"ge", "gt", "le"}:
        yield partial(_within, metadata.get("ge"), metadata.get("gt"), metadata.get("le"))


def _not_empty(value: Any) -> Iterator[Found]:
    if isinstance(value, list | tuple) and not value:
        yield "", "must not be empty", ""


def _of_kind(check: Callable[[str], Any], value: Any, *, deep: bool = False) -> Iterator[Found]:
    if isinstance(value, str):
        complaint = check(value)
        if complaint is not None:
            yield "", *complaint
    elif isinstance(value, list | tuple | Mapping):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(item, str) or deep:
                yield from Refused(*_of_kind(check, item, deep=deep)).below(key)


def _keys_of_kind(check: Callable[[str], Any], value: Any) -> Iterator[Found]:
    for key in value if isinstance(value, Mapping) else ():
        complaint = check(key)
        if complaint is not None:
            yield join("", key), *complaint


def _within(ge: float | None, gt: int | None, le: int | None, value: Any) -> Iterator[Found]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    bounds = [f"at least {ge}"] * (ge is not None) + [f"more than {gt}"] * (gt is not None)
    bounds += [f"at most {le}"] * (le is not None)
    if (ge is not None and value < ge) or (gt is not None and value <= gt) or (le is not None and value > le):
        yield "", f"must be {' and '.join(bounds)}, got {shown(value)}", ""


_PLAIN = make_converter()
