"""JSON Schema (draft 2020-12) of attrs classes: what an editor shows and checks while a file is written.

The same metadata drives the loader (`engine.core.structure`), so the two agree; what a schema cannot say (a
template compiles, a variable is known) only the loader checks.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from engine.core.kinds import KINDS

Schema = dict[str, Any]
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SCALARS: Mapping[Any, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def json_schema(cls: type, *, title: str, null: bool = False) -> Schema:
    """The schema of a document that is a `cls`. `null` True where null may be written for None: not in TOML."""
    definitions: dict[str, Schema] = {}
    writer = _Writer(definitions, null)
    root = writer.table(cls)
    return {
        "$schema": DRAFT,
        "title": title,
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


class _Writer:
    """One schema under way: classes met so far become definitions."""

    def __init__(self, definitions: dict[str, Schema], null: bool) -> None:
        self.definitions, self.null = definitions, null

    def table(self, cls: type) -> Schema:
        hints = get_type_hints(cls)
        fields = attrs.fields(cls)
        properties = {field.name: self.field(field, hints[field.name]) for field in fields}
        required = [field.name for field in fields if field.default is attrs.NOTHING]
        schema: Schema = {
            "description": _summary(cls),
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
        }
        if required:
            schema["required"] = required
            schema["x-taplo"] = {"initKeys": required}
        return schema

    def field(self, field: attrs.Attribute[Any], hint: Any) -> Schema:
        schema = self.value(hint, field.metadata)
        if text := field.metadata.get("doc"):
            schema = {"description": text, **schema}
        default = default_of(field)
        if default is not None and not attrs.has(type(default)) and not _holds_classes(default):
            schema["default"] = list(default) if isinstance(default, tuple) else default
        return schema

    def value(self, hint: Any, metadata: Mapping[str, Any]) -> Schema:
        origin = get_origin(hint)
        if origin in {Union, types.UnionType}:
            return self.union(get_args(hint), metadata)
        if origin is Literal:
            return {"enum": list(get_args(hint))}
        if origin is tuple:
            items = self.value(get_args(hint)[0], {"kind": metadata["kind"]} if "kind" in metadata else {})
            return {"type": "array", "items": items, **({"minItems": 1} if metadata.get("some") else {})}
        if origin in {Mapping, dict}:
            return self.mapping(get_args(hint)[1], metadata)
        if attrs.has(hint):
            return self.reference(hint)
        if hint in _SCALARS:
            return {"type": _SCALARS[hint], **_constraints(hint, metadata)}
        return {}

    def union(self, members: tuple[Any, ...], metadata: Mapping[str, Any]) -> Schema:
        schemas = [self.value(member, metadata) for member in members if member is not type(None)]
        if self.null and type(None) in members:
            schemas.append({"type": "null"})
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def mapping(self, value: Any, metadata: Mapping[str, Any]) -> Schema:
        schema: Schema = {"type": "object"}
        if inner := self.value(value, {"kind": metadata["kind"]} if "kind" in metadata else {}):
            schema["additionalProperties"] = inner
        pattern = KINDS[metadata["keys"]].pattern if "keys" in metadata else None
        if pattern is not None:
            schema["propertyNames"] = {"pattern": f"^(?:{pattern})$"}
        return schema

    def reference(self, cls: type) -> Schema:
        if cls.__name__ not in self.definitions:
            self.definitions[cls.__name__] = {}
            self.definitions[cls.__name__] = self.table(cls)
        return {"$ref": f"#/$defs/{cls.__name__}"}


def default_of(field: attrs.Attribute[Any]) -> Any:
    """A field's default as a value; None when it has none."""
    if field.default is attrs.NOTHING:
        return None
    factory = getattr(field.default, "factory", None)
    return factory() if factory is not None else field.default


def _holds_classes(value: Any) -> bool:
    return isinstance(value, tuple) and any(attrs.has(type(item)) for item in value)


def _constraints(hint: Any, metadata: Mapping[str, Any]) -> Schema:
    if hint is str:
        pattern = KINDS[metadata["kind"]].pattern if "kind" in metadata else None
        return {} if pattern is None else {"pattern": f"^(?:{pattern})$"}
    if hint is bool:
        return {}
    words = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}
    return {word: metadata[key] for key, word in words.items() if key in metadata}


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n", 1)[0].replace("\n", " ")
