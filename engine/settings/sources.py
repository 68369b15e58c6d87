"""Where settings come from: worker.toml, kojid.conf, the environment, the command line; each one a `Layer`."""

from __future__ import annotations

import tomllib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from attrs import frozen

from engine.core.documents import parse_toml
from engine.core.errors import BadInput, Problem, did_you_mean
from engine.core.structure import structure
from engine.settings.document import LEAVES, Leaf, WorkerFile
from engine.settings.kojid import KojidConf

PREFIX = "ADJUTANT_"
RESERVED = frozenset(
    PREFIX + name for name in ("CONFIG", "KOJID_CONF", "DEBUG", "RECIPES", "IMAGE_DIRECTORIES", "IMAGE_REPOSITORY")
)
"""Options of commands; no setting may have such a name and another meaning."""
_YES, _NO = frozenset({"1", "yes", "true", "on"}), frozenset({"0", "no", "false", "off"})
_TABLES = {"adjutant_container_timeouts": "adjutant_container_timeouts"}


@frozen
class Layer:
    """Values of one source by key path, with the words that say where each stands (``FILE: key``)."""

    where: str
    values: Mapping[str, Any]
    places: Mapping[str, str]

    def origin(self, path: str) -> str:
        return f"{self.where}: {self.places[path]}" if self.where else self.places[path]


def toml_layer(path: str) -> Layer:
    """worker.toml, every value checked; BadInput with all problems."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput([Problem(path, "", f"cannot be read: {error.strerror or error}")]) from None
    except UnicodeDecodeError as error:
        raise BadInput([Problem(path, "", f"not UTF-8: {error.reason}")]) from None
    data = parse_toml(text, path)
    structure(data, WorkerFile, path)
    values = dict(_flat(data))
    return Layer(path, values, {key: key for key in values})


def kojid_layer(conf: KojidConf) -> Layer:
    """The options of a kojid.conf that have an effect here."""
    values, places, problems = _from_texts(
        conf.path, {key: (key.removeprefix("hub."), text) for key, text in conf.texts.items()}
    )
    for path, table in (("rlimits", conf.rlimits), ("variables", conf.variables)):
        if table:
            values[path], places[path] = dict(table), ", ".join(sorted(table))
    if problems:
        raise BadInput(problems)
    return Layer(conf.path, values, places)


def environment_variables() -> Mapping[str, str]:
    """Name of the environment variable of every setting: ``ADJUTANT_NETWORK_ENABLED``, ``ADJUTANT_HUB_SERVER``."""
    return {PREFIX + path.removeprefix("adjutant_").replace(".", "_").upper(): path for path in LEAVES}


def environment_layer(environment: Mapping[str, str]) -> tuple[Layer, tuple[Problem, ...]]:
    """The settings in the environment, and a note for each `ADJUTANT_*` that is none."""
    names = environment_variables()
    texts: dict[str, tuple[str, str]] = {}
    notes: list[Problem] = []
    problems: list[Problem] = []
    for name, text in environment.items():
        if name in names:
            texts[names[name]] = (name, text)
        elif name == PREFIX + "CONTAINER_TIMEOUTS":
            for key, value in _inline_table(name, text, problems).items():
                texts.setdefault(f"adjutant_container_timeouts.{key}", (name, str(value)))
        elif name.startswith(PREFIX) and name not in RESERVED:
            notes.append(Problem("environment", name, "no setting of this name, ignored", _near(name, names)))
    known = {path: entry for path, entry in texts.items() if path in LEAVES}
    problems += [
        Problem("environment", texts[path][0], f"unknown key '{path.rpartition('.')[2]}'")
        for path in texts.keys() - known.keys()
    ]
    values, places, wrong = _from_texts("environment", known)
    if problems or wrong:
        raise BadInput([*problems, *wrong])
    return Layer("environment", values, places), tuple(notes)


def command_line_layer(given: Mapping[str, Any]) -> Layer:
    """Values given as options, by key path; None means not given."""
    values = {path: value for path, value in given.items() if value is not None}
    return Layer("command line", values, {path: "--" + _option(path) for path in values})


def _option(path: str) -> str:
    return path.rpartition(".")[2].replace("_", "-")


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        path = prefix + key
        if path in LEAVES:
            yield path, value
        else:
            yield from _flat(value, path + ".")


def _from_texts(
    where: str, texts: Mapping[str, tuple[str, str]]
) -> tuple[dict[str, Any], dict[str, str], list[Problem]]:
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    problems: list[Problem] = []
    for path, (place, text) in texts.items():
        try:
            value = parse_text(LEAVES[path], text)
            structure(_nest({path: value}), WorkerFile, where)
        except ValueError as error:
            problems.append(Problem(where, place, str(error)))
        except BadInput as error:
            problems.extend(Problem(where, place, one.message, one.cure) for one in error.problems)
        else:
            values[path], places[path] = value, place
    return values, places, problems


def parse_text(leaf: Leaf, text: str) -> Any:
    """A setting's value from text, as kojid.conf and the environment give it. ValueError with the words."""
    kind = _plain_type(leaf.type)
    if kind is bool:
        word = text.strip().lower()
        if word not in _YES | _NO:
            raise ValueError(f"must be yes or no, got '{text}'")
        return word in _YES
    if kind in {int, float}:
        try:
            return kind(text.strip())
        except ValueError:
            word = "an integer" if kind is int else "a number"
            raise ValueError(f"must be {word}, got '{text}'") from None
    if kind is str or get_origin(kind) is Literal:
        return text
    return _toml_value(leaf, text)


def _plain_type(annotation: Any) -> Any:
    if get_origin(annotation) in {Union, types.UnionType}:
        return next(member for member in get_args(annotation) if member is not type(None))
    return annotation


def _toml_value(leaf: Leaf, text: str) -> Any:
    if get_origin(leaf.type) is tuple and get_args(leaf.type)[0] is str and not text.lstrip().startswith("["):
        return [part for part in text.split(":") if part]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        example = "[{ source = '/mnt/koji', target = '/mnt/koji' }]" if leaf.path.endswith("mounts") else ""
        example = example or '{ name = "value" }'
        raise ValueError(f"must be a TOML value such as {example}, got '{text}'") from None


def _inline_table(name: str, text: str, problems: list[Problem]) -> Mapping[str, Any]:
    try:
        table = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        table = None
    if isinstance(table, Mapping):
        return table
    problems.append(Problem("environment", name, f"must be a table, got '{text}'", "write { pull = 300, start = 60 }"))
    return {}


def _near(name: str, names: Mapping[str, str]) -> str:
    cure = did_you_mean(name, sorted(names))
    return cure if cure.startswith("did you mean") else ""


def _nest(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *tables, key = path.split(".")
        table = nested
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return nested


nest = _nest
