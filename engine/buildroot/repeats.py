"""The second level: a root that holds the build requirements too, for a source package that is built again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from engine.buildroot.images import image_name
from engine.buildroot.make import Maker
from engine.buildroot.prepared import Prepared, SnapshotLimits
from engine.buildroot.rooted import RootedManager
from engine.buildroot.shelf import Shelf
from engine.buildroot.tools import ToolFailed
from engine.core.errors import ContainerError
from engine.core.facts import Facts, TaskRequest
from engine.core.recipe import Recipe
from engine.core.roots import RootRequest
from engine.core.snapshots import Choice, Snapshot, content_key, difference, digest, installed_log, packages_of


@frozen(kw_only=True)
class Repeats:
    """Gives a task the root with its requirements where they are known."""

    shelf: Shelf
    maker: Maker
    facts: Facts
    task: TaskRequest
    asked: RootRequest
    within: str
    """Names the repositories' content, and everything that was asked of them."""
    recipe: Recipe
    limits: SnapshotLimits
    note: Callable[[str], None]

    def apply(self, prepared: Prepared, base: Snapshot) -> None:
        """Use or make the root that holds the build requirements as well, for a source package built before."""
        source = self.asked.source
        if not self.limits.repeats_after or source is None or prepared.report is None or not Path(source).is_file():
            return
        name = self._name(base, source)
        rooted = prepared.manager
        known = self.shelf.state.read("repeats", name)

        def remember() -> None:
            record = rooted.requirements if isinstance(rooted, RootedManager) else None
            if record is not None and prepared.report is not None and not prepared.report.cached_requirements:
                times = int((known or {}).get("times", 0)) + 1
                self.shelf.state.write("repeats", name, {**record, "times": times})

        prepared.remember = remember
        if known is None or int(known.get("times", 0)) < self.limits.repeats_after or prepared.lease is None:
            self.shelf.state.count("requirements_miss")
            return
        wanted = None if known.get("refused") else _with(base, known)
        lease = prepared.lease
        if wanted is not None and self._take_level(prepared, base, wanted, name, known):
            lease.release()
        else:
            self.shelf.state.count("requirements_miss")

    def _name(self, base: Snapshot, source: str) -> str:
        """What decides which packages the installing step would add: it installs from the repo as it is now."""
        settings = self.facts.settings
        macros = [[value.name, value.value] for value in (*self.facts.macros, *self.facts.env)]
        macros += [[name, getattr(settings, name)] for name in ("vendor", "packager", "distribution", "mockhost")]
        arch = self.task.params.get("arch")
        return digest([self.within, base.key, _sha256(source), macros, arch, attrs.asdict(self.recipe)])

    def _take_level(
        self, prepared: Prepared, base: Snapshot, wanted: Snapshot, name: str, known: Mapping[str, Any]
    ) -> bool:
        """Move the task to the root with its requirements; False when that root cannot be had just now."""
        seconds = 0.0
        lease = self.shelf.state.try_lock(wanted.key, shared=True)
        if lease is None or self.shelf.find(wanted.key) is None:
            if lease is not None:
                lease.release()
            lock = self.shelf.state.try_lock(wanted.key)
            if lock is None:
                return False
            with lock:
                begin = time.monotonic()
                if self.shelf.take(wanted.key) is None:  # neither another task nor another work directory made it
                    if not self._make_level(wanted, base, name, known):
                        return False
                    seconds = time.monotonic() - begin
            lease = self.shelf.state.try_lock(wanted.key, shared=True)
            if lease is None:
                return False
        lists = self._lists(base, wanted)
        facts = prepared.facts
        if not lists or self.shelf.find(wanted.key) is None or facts.buildroot is None or prepared.report is None:
            lease.release()
            return False
        self.shelf.state.count("requirements_made" if seconds else "requirements_hit")
        self.shelf.state.touch(wanted.key)
        image = image_name(wanted.key)
        requires = tuple(map(str, known.get("requires", ())))
        root = attrs.evolve(facts.buildroot, image=image, key=wanted.key, requirements=True, requires=requires)
        prepared.facts = attrs.evolve(facts, buildroot=root)
        prepared.manager = RootedManager(self.maker.manager, image, self.shelf, wanted.key, lists=lists)
        prepared.report = attrs.evolve(
            prepared.report,
            image=image,
            key=wanted.key,
            packages=len(wanted.packages),
            cached_requirements=True,
            make_seconds=seconds,
            reason=prepared.report.reason + "; build requirements there already",
        )
        prepared.lease = lease
        return True

    def _lists(self, base: Snapshot, wanted: Snapshot) -> dict[str, str]:
        """What the installing step would have said, from the rpmdbs of the two snapshots; {} when unknown."""
        before, after = (self.shelf.state.read("installed", item.key) for item in (base, wanted))
        if not before or not after:
            return {}
        packages = after["packages"]
        return {
            "installed_before.json": json.dumps(before["packages"]),
            "installed_after.json": json.dumps(packages),
            "installed_pkgs.log": installed_log(packages),
        }

    def _make_level(self, wanted: Snapshot, base: Snapshot, name: str, known: Mapping[str, Any]) -> bool:
        change = difference(base.packages, wanted.packages)
        choice = Choice(decision="increment", key=wanted.key, reason="", parent=base, difference=change)
        try:
            self.maker.increment(wanted, base, choice)
        except (ToolFailed, ContainerError) as error:
            self.note(f"no root with build requirements: {error}")
            if isinstance(error, ToolFailed) and error.kind in ("set", "traces"):  # it would be so the next time too
                self.shelf.state.write("repeats", name, {**known, "refused": str(error)})
            return False
        return True


def _with(base: Snapshot, known: Mapping[str, Any]) -> Snapshot | None:
    """The set of `base` with what was added to it once."""
    try:
        added = packages_of(known["added"])
    except (KeyError, TypeError, ValueError):
        return None
    replaced = {(package.name, package.arch) for package in added}
    kept = [package for package in base.packages if (package.name, package.arch) not in replaced]
    packages = tuple(sorted([*kept, *added]))
    key = content_key(packages, base.shape)
    if key == base.key:
        return attrs.evolve(base)
    return Snapshot(key=key, shape=base.shape, packages=packages, level=2, label=f"{base.label} + requirements")


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
