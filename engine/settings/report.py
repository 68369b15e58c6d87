"""Settings as text: `engine config show` and `engine config convert`. Secrets are masked when shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import tomli_w

from engine.core.errors import Problem
from engine.settings.effective import Effective
from engine.settings.kojid import KojidConf
from engine.settings.sources import kojid_layer, nest


def as_json(values: Iterable[Effective]) -> str:
    """A JSON object: key path to ``{value, origin}``."""
    table = {value.path: {"value": value.shown, "origin": value.origin} for value in values}
    return json.dumps(table, indent=2, ensure_ascii=False) + "\n"


def as_toml(values: Iterable[Effective]) -> str:
    """A complete worker.toml (keys without a value as comments), each key below the place it came from."""
    tables: dict[str, list[str]] = {"": []}
    for value in values:
        table, _, key = value.path.rpartition(".")
        text = f"# {key} =\n" if value.shown is None else tomli_w.dumps({key: value.shown})
        block = f"# {value.origin}\n{text}"
        if text.startswith("["):  # a table of its own: it must come after the plain keys
            tables.setdefault(value.path, []).append(block)
        else:
            tables.setdefault(table, []).append(block)
    parts = []
    for table, blocks in tables.items():
        own = blocks[0].split("\n")[1:2] if blocks else []
        head = f"[{table}]\n" if table and own not in ([f"[{table}]"], [f"[[{table}]]"]) else ""
        parts.append(head + "".join(blocks))
    return "\n".join(part for part in parts if part)


def converted(conf: KojidConf, schema: str) -> tuple[str, tuple[Problem, ...]]:
    """A worker.toml that says what `conf` says, and what could not be carried over.

    `schema` is where an editor finds worker.schema.json. The password stays in it: the file must be kept as private
    as the kojid.conf was.
    """
    layer = kojid_layer(conf)
    data: dict[str, Any] = nest(_in_order(layer.values))
    head = f"#:schema {schema}\n# From {conf.path}. The settings adjutant_* and [worker] are this worker's own.\n\n"
    return head + tomli_w.dumps(data), conf.notes


def _in_order(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(values.items(), key=lambda item: ("." in item[0], item[0])))
