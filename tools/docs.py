"""Write the generated parts of the documents: ``python -m tools.docs`` (make schema).

A part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``; NAME is a key of `PARTS`.
"""

from __future__ import annotations

import inspect
import re
import tomllib
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from engine.core import lint, templates, variables
from engine.core.kinds import KINDS
from engine.core.recipe import CAPABILITY_PROFILES, Artifact, Buildroot, Input, Param, Probe, Recipe, Step
from engine.core.schema import default_of

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs/recipes.md"
DOCUMENTS = (DOCUMENT, ROOT / "docs/buildroots.md")
FIX = "make schema"
_PART = re.compile(r"(<!-- generated: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_WORDS: Mapping[Any, str] = {int: "integer", float: "number", bool: "boolean", Any: "any value"}


def text(document: str) -> str:
    """`document` with every generated part as it must be."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part['name']]()}\n{part[3]}", document)


def main() -> None:
    """Rewrite the documents."""
    for document in DOCUMENTS:
        document.write_text(text(document.read_text(encoding="utf-8")), encoding="utf-8")
        print(document.relative_to(ROOT))


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# --- keys


def _keys() -> str:
    """Every table of a recipe, each class once, with the places where it occurs."""
    places: dict[type, list[str]] = {}
    _find(Recipe, "", places)
    return "\n".join(_section(cls, where) for cls, where in places.items())


def _find(cls: type, path: str, places: dict[type, list[str]]) -> None:
    first = cls not in places
    places.setdefault(cls, []).append(path)
    if not first:
        return
    for name, hint in get_type_hints(cls).items():
        for inner, many in _classes(hint):
            below = f"{path.strip('[]')}.{name}".lstrip(".")
            _find(inner, f"[[{below}]]" if many else f"[{below}]", places)


def _classes(hint: Any, many: bool = False) -> Iterator[tuple[type, bool]]:
    if attrs.has(hint):
        yield hint, many
    for inner in get_args(hint):
        if inner is not ...:
            yield from _classes(inner, many or get_origin(hint) is tuple)


def _section(cls: type, where: list[str]) -> str:
    summary = (inspect.getdoc(cls) or "").replace("\n\n", "\0").replace("\n", " ").replace("\0", "\n\n")
    rows = (
        (f"`{field.name}`", _value(field, cls), _default(field), field.metadata["doc"]) for field in attrs.fields(cls)
    )
    return f"### {_title(cls, where)}\n\n{summary}\n\n" + _table(("key", "value", "default", "meaning"), rows)


def _title(cls: type, where: list[str]) -> str:
    if cls is Recipe:
        return "Top level"
    if cls.__name__ == "Argument":
        return "A table in `steps.argv`"
    return ", ".join(f"`{place}`" for place in where)


def _value(field: attrs.Attribute[Any], cls: type) -> str:
    hint = get_type_hints(cls)[field.name]
    words = _type(hint, field.metadata)
    bounds = [
        f"{sign} {field.metadata[key]}"
        for key, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"))
        if key in field.metadata
    ]
    return ", ".join([words, *bounds, *(["at least one"] if field.metadata.get("some") else [])])


def _type(hint: Any, metadata: Mapping[str, Any], many: str = "") -> str:
    """A type in words; `many` is "s" for the plural."""
    origin = get_origin(hint)
    kind = KINDS[metadata["kind"]] if "kind" in metadata else None
    if origin in {Union, types.UnionType}:
        return " or ".join(_type(member, metadata, many) for member in get_args(hint) if member is not type(None))
    if origin is Literal:
        return ", ".join(f'`"{word}"`' for word in get_args(hint))
    if origin is tuple:
        return f"array of {_type(get_args(hint)[0], metadata, 's')}"
    if origin is not None:
        return f"table of {_type(get_args(hint)[1], metadata, 's')}"
    if attrs.has(hint):
        return f"table{many}"
    if hint is Any and kind is not None:
        return "any value, its strings templates"
    if hint is str:
        return ("string" if kind is None or kind.form == "text" else kind.form) + many
    return _WORDS[hint] + many


def _default(field: attrs.Attribute[Any]) -> str:
    if field.default is attrs.NOTHING:
        return "**required**"
    default = default_of(field)
    if default is None or default in ("", (), {}) or attrs.has(type(default)):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


# --- the rest


def _names() -> str:
    """Variables, from a recipe that declares one of everything."""
    # What only has to look right in the table: NAME is no name that the loader would take.
    sample = Recipe(
        recipe=1,
        method="x",
        params=(Param(name="NAME", summary="a parameter, by the name in `params`"),),
        probes=(Probe(name="NAME", path=""),),
        inputs=(Input(name="NAME", source="", kind="tree"),),
        artifacts=(Artifact(name="NAME", glob=()),),
        buildroot=Buildroot(),
        steps=(Step(name="x", argv=("x",)),),
    )
    parts = []
    seen: set[str] = set()
    for title, scope in (
        ("In every template and expression:", variables.scope(sample)),
        ("Also in `message` of a step:", variables.message_scope(sample)),
        ("Also in `result`:", variables.result_scope(sample)),
    ):
        rows = [row for row in variables.listed(scope) if row[0] not in seen]
        seen |= {name for name, _, _ in rows}
        shown = ((f"`{name}`", kind, summary) for name, kind, summary in rows)
        parts.append(f"{title}\n\n" + _table(("name", "type", "what"), shown))
    return "\n".join(parts)


def _warnings() -> str:
    return _table(("code", "what"), ((f"`{code}`", why) for code, (_, why) in lint.RULES.items()))


def _capabilities() -> str:
    rows = ((f"`{name}`", ", ".join(caps) or "none") for name, caps in CAPABILITY_PROFILES.items())
    return _table(("profile", "capabilities"), rows)


def _filters() -> str:
    return ", ".join(f"`{name}`" for name in templates.FILTERS) + "\n"


def _mock() -> str:
    rows = tomllib.loads((ROOT / "tools/mock_differences.toml").read_text(encoding="utf-8"))["difference"]
    return _table(("here", "mock", "why"), ((row["here"], row["mock"], row["why"]) for row in rows))


PARTS: Mapping[str, Callable[[], str]] = {
    "capabilities": _capabilities,
    "filters": _filters,
    "keys": _keys,
    "mock": _mock,
    "names": _names,
    "warnings": _warnings,
}

if __name__ == "__main__":
    main()
