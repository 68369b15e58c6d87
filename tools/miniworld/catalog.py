"""The content of the world, read from `catalog.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CATALOG_FILE = Path(__file__).with_name("catalog.toml")


@dataclass(frozen=True)
class OwnPackage:
    """A package made from the catalog alone; paths are absolute, modes are numbers."""

    name: str
    version: str
    summary: str
    provides: list[str] = field(default_factory=list)
    requires: list[str] = field(default_factory=list)
    config: list[str] = field(default_factory=list)
    dirs: list[str] = field(default_factory=list)
    modes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalog:
    """What to convert and what to change on the way. Keys are Debian package names."""

    seeds: list[str]
    provides: dict[str, list[str]]
    drop: dict[str, list[str]]
    links: dict[str, dict[str, str]]
    files: dict[str, dict[str, str]]
    replaced: dict[str, dict[str, list[str]]]
    concatenated: dict[str, dict[str, str]]
    scriptlets: dict[str, str]
    groups: dict[str, list[str]]
    real_groups: dict[str, list[str]]
    real_packages: list[str]
    own: list[OwnPackage]

    @property
    def filesystem_dirs(self) -> frozenset[str]:
        """Directories that the package `filesystem` owns, their parents included."""
        package = next(p for p in self.own if p.name == "filesystem")
        found: set[str] = set()
        for name in [*package.dirs, *package.modes]:
            if name in package.files:
                continue
            path = Path(name)
            found.update(str(p) for p in [path, *path.parents])
        return frozenset(found)


def load(path: Path = CATALOG_FILE) -> Catalog:
    """Read the catalog. A key that `Catalog` does not know is a TypeError."""
    with path.open("rb") as stream:
        raw: dict[str, Any] = tomllib.load(stream)
    seeds = sorted({name for names in raw.pop("seeds").values() for name in names})
    own = [OwnPackage(**item) for item in raw.pop("own")]
    return Catalog(seeds=seeds, own=own, **raw)
