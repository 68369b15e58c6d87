"""Which packages a root is made of, what names it, and which snapshot it is best made from. Pure.

A *snapshot* is an image that holds exactly one resolved set of packages. Its key is made of the content alone: every
package with its checksum, the architecture, and the version of what we add to every root. Two repos with
the same packages give one key, a package rebuilt under the same name another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs
from attrs import field, frozen

KEY_LENGTH = 32
NAMES_IN_REASON = 5
FOUNDATION = frozenset({"setup", "filesystem"})
"""Packages whose files every other one's scripts write to or build on."""

Decision = Literal["hit", "increment", "full", "image"]
"""`hit`: it was there; `increment`: made from the nearest one; `full`: made from nothing; `image`: none needed."""


@frozen(kw_only=True, order=True)
class Package:
    """A package as the repo's metadata describe it. `checksum` is ``sha256:…`` of the file, `epoch` 0 when absent."""

    name: str
    epoch: int = 0
    version: str
    release: str
    arch: str
    checksum: str

    @property
    def nevra(self) -> str:
        """``name-epoch:version-release.arch``, the epoch always written."""
        return f"{self.name}-{self.epoch}:{self.version}-{self.release}.{self.arch}"


@frozen(kw_only=True)
class Shape:
    """What shapes a root besides its packages.

    `arch` in rpm's words; `rpm` the version of the rpm that installs (it decides the database's form); `finish`
    the version of what we add to every root (user, directories). `options` are those of the package manager that
    decide what it writes, `macros` those of the rpm that installs, each as ``name value``. None has a default: a
    record that does not say one of them is not taken for good.
    """

    arch: str
    rpm: str
    finish: int
    options: tuple[str, ...]
    macros: tuple[str, ...]


@frozen(kw_only=True)
class Snapshot:
    """A snapshot as it was recorded when it was made and verified.

    `image` is podman's id of the image that was verified: its name could be given to another one.
    `parent` is the key it was made from, "" for a full one; `chain` counts the layers above a full one.
    `size` bytes of the whole root, `stored` of the image as podman counts it, `own` of what its own layer added.
    `level` 2 holds build requirements, too. `lasting` names the packages that did more than lay down their files:
    scripts, triggers, users.
    `boot` names the run of the host that stored it, until the image is known to be on disk: podman does not wait for
    that, and after a power cut such an image may lack content. Times are seconds since the epoch.
    """

    key: str
    shape: Shape
    packages: tuple[Package, ...]
    image: str = ""
    parent: str = ""
    chain: int = 0
    size: int = 0
    stored: int = 0
    own: int = 0
    level: int = 1
    lasting: tuple[str, ...] = ()
    boot: str = ""
    created: float = 0.0
    used: float = 0.0
    label: str = ""


@frozen(kw_only=True)
class Difference:
    """What turns one set into another: names of packages added, removed, and replaced by another build."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed)

    def words(self) -> str:
        """``3 packages changed: a, b, c; 1 added: d``."""
        parts: list[str] = []
        for names, word in ((self.changed, "changed"), (self.added, "added"), (self.removed, "removed")):
            if names:
                shown = ", ".join(names[:NAMES_IN_REASON]) + (", …" if len(names) > NAMES_IN_REASON else "")
                noun = "" if parts else " package" if len(names) == 1 else " packages"
                parts.append(f"{len(names)}{noun} {word}: {shown}")
        return "; ".join(parts) or "nothing"


@frozen(kw_only=True)
class Choice:
    """How to come by the root `key`: `decision`, `reason` in words, the snapshot to start from (increment)."""

    decision: Decision
    key: str
    reason: str
    parent: Snapshot | None = None
    difference: Difference = field(factory=Difference)


@frozen(kw_only=True)
class BuildrootReport:
    """What `prepare` did, for people and for `result.json`. Seconds are wall time.

    `resolved` False: the repo was known, nothing was asked. `cached_requirements` True: the root holds the
    source package's build requirements already. `packages` counts the whole set, `changed` what had to be
    installed or removed. `waited` is time spent waiting for another task that made the same root. `storing`
    True: the snapshot is being stored while the task runs on the root it was made in.
    """

    decision: Decision
    reason: str
    key: str = ""
    image: str = ""
    parent: str = ""
    packages: int = 0
    changed: int = 0
    resolved: bool = False
    cached_requirements: bool = False
    storing: bool = False
    waited: float = 0.0
    resolve_seconds: float = 0.0
    make_seconds: float = 0.0
    seconds: float = 0.0


def installed_log(rows: Iterable[Mapping[str, Any]]) -> str:
    """``installed_pkgs.log`` of packages as the hub knows them: NEVRA, time of build, size, digest."""
    lines = []
    for row in rows:
        epoch = f"{row['epoch']}:" if row["epoch"] else ""
        nevra = f"{row['name']}-{epoch}{row['version']}-{row['release']}.{row['arch']}"
        lines.append(f"{nevra} {row['buildtime']} {row['size']} {row['payloadhash']} installed\n")
    return "".join(lines)


def content_key(packages: Iterable[Package], shape: Shape) -> str:
    """The key of a set: hexadecimal, `KEY_LENGTH` characters."""
    content = {"shape": attrs.asdict(shape), "packages": sorted([p.nevra, p.checksum] for p in packages)}
    return digest(content)


def digest(value: Any) -> str:
    """A short, stable name for JSON-like data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def difference(old: Iterable[Package], new: Iterable[Package]) -> Difference:
    """What must be done to `old` so that it becomes `new`."""
    before, after = set(old), set(new)
    gone, come = {_slot(p) for p in before - after}, {_slot(p) for p in after - before}
    return Difference(
        added=tuple(sorted({name for name, _ in come - gone})),
        removed=tuple(sorted({name for name, _ in gone - come})),
        changed=tuple(sorted({name for name, _ in come & gone})),
    )


def choose(
    key: str, packages: Iterable[Package], shape: Shape, snapshots: Iterable[Snapshot], *, max_chain: int, exists: bool
) -> Choice:
    """Hit, increment on the nearest snapshot, or full, with the reason.

    An increment is worth it while it replaces less than half of the set, and right while nothing stays behind that a
    root made from nothing would not have (`obstacle`). A chain as long as `max_chain` is not made longer; a root with
    build requirements is no start for one without. Among equally near snapshots the one with the shortest chain wins.
    """
    wanted = tuple(packages)
    if exists:
        return Choice(decision="hit", key=key, reason=f"hit: the same {len(wanted)} packages")
    known = [item for item in snapshots if item.shape == shape and item.key != key and item.level == 1]
    ranked = sorted(
        ((difference(snapshot.packages, wanted), snapshot) for snapshot in known),
        key=lambda pair: (pair[0].size, pair[1].chain, pair[1].key),
    )
    if not ranked:
        return Choice(decision="full", key=key, reason=f"miss: no snapshot of {shape.arch} yet")
    nearest, _ = ranked[0]
    short = [(found, snapshot) for found, snapshot in ranked if snapshot.chain < max_chain]
    if not short:
        reason = f"miss: {nearest.words()}; the nearest snapshots are chains of {max_chain} already"
        return Choice(decision="full", key=key, reason=reason, difference=nearest)
    best, first = short[0]
    if best.size * 2 > len(wanted):
        reason = f"miss: the nearest snapshot differs by {best.size} of {len(wanted)} packages"
        return Choice(decision="full", key=key, reason=reason, difference=best)
    for found, parent in short:
        if found.size * 2 <= len(wanted) and not obstacle(parent, found):
            reason = f"near miss: {found.words()}; from {parent.key[:12]}"
            return Choice(decision="increment", key=key, reason=reason, parent=parent, difference=found)
    reason = f"miss: {best.words()}; not from {first.key[:12]}: {obstacle(first, best)}"
    return Choice(decision="full", key=key, reason=reason, difference=best)


def obstacle(parent: Snapshot, change: Difference) -> str:
    """Why `change` would not make of `parent` what is made from nothing, as far as names tell; "" when it would.

    Packages that are replaced are judged by whoever sees both builds: their scripts must be the same.
    """
    names = {*change.added, *change.changed, *change.removed}
    if foundation := sorted(FOUNDATION & names):
        return "every root is built on " + " and ".join(foundation)
    if left := sorted(set(change.removed) & set(parent.lasting)):
        shown = ", ".join(left[:NAMES_IN_REASON]) + (", …" if len(left) > NAMES_IN_REASON else "")
        return f"what scripts or triggers did for {shown} would stay"
    return ""


def packages_of(rows: Iterable[Mapping[str, Any]]) -> tuple[Package, ...]:
    """Packages from plain data, sorted. ValueError or TypeError when a row is none."""
    return tuple(sorted(Package(**{f.name: row[f.name] for f in attrs.fields(Package)}) for row in rows))


def snapshot_of(data: Mapping[str, Any]) -> Snapshot:
    """A record read back. KeyError, TypeError or ValueError when it is none."""
    plain = {f.name: data[f.name] for f in attrs.fields(Snapshot) if f.name in data}
    shape = {**data["shape"], **{name: tuple(data["shape"][name]) for name in ("options", "macros")}}
    lasting = tuple(map(str, data.get("lasting", ())))
    packages = packages_of(data["packages"])
    return Snapshot(**{**plain, "shape": Shape(**shape), "packages": packages, "lasting": lasting})


def _slot(package: Package) -> tuple[str, str]:
    """What an update replaces: a package of the same name and architecture."""
    return package.name, package.arch
