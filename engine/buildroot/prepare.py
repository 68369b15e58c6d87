"""From facts to the root of a task: found, made from the nearest snapshot, or made from nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs
from attrs import field, frozen

from engine.buildroot.images import LABEL_KEY, LABEL_OWNER, SnapshotImages, image_name
from engine.buildroot.make import MadeRoot, Maker
from engine.buildroot.repos import content_of
from engine.buildroot.rooted import RootedManager
from engine.buildroot.state import Job, Lock, State, foreign_record
from engine.buildroot.tools import FINISH, ToolFailed, Tools, install_tools
from engine.core.errors import ContainerError, InfrastructureError, Interrupted
from engine.core.facts import BuildrootFacts, Facts, TaskRequest
from engine.core.manager import Cancelled, ContainerManager
from engine.core.recipe import Recipe
from engine.core.roots import RootRequest, root_request
from engine.core.snapshots import (
    BuildrootReport,
    Choice,
    Package,
    Shape,
    Snapshot,
    choose,
    content_key,
    difference,
    digest,
    installed_log,
    packages_of,
    snapshot_of,
)

GB = 1024**3


@frozen(kw_only=True)
class SnapshotLimits:
    """What snapshots may cost. `disk` bytes and `count` of all together, `chain` layers upon a full one.

    `repeats_after`: the root after build requirements gets a snapshot of its own when the same source package is
    built in the same root for the time after this many; 0 switches this second level off. `repeats` bounds them.
    """

    disk: int = 20 * GB
    count: int = 60
    chain: int = 20
    repeats_after: int = 1
    repeats: int = 20


def never() -> bool:
    return False


def quiet(_text: str) -> None:
    """Nobody is told."""


def no_output(_data: bytes) -> None:
    """Nobody reads it."""


class Prepared:
    """The root of one task. Use as a context manager around render and run; leaving it lets go of the snapshot."""

    def __init__(self, facts: Facts, manager: ContainerManager, report: BuildrootReport | None = None) -> None:
        self.facts, self.report = facts, report
        self.manager: ContainerManager = manager
        self._lease: Lock | None = None
        self._made: MadeRoot | None = None
        self._remember: Callable[[], None] = lambda: None
        self._note: Callable[[str], None] = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def succeeded(self) -> None:
        """The task is done and well: what it required is worth remembering."""
        self._remember()

    def close(self) -> None:
        """Let go of the snapshot; wait until the one being stored is stored; remove a root nobody took."""
        made, self._made = self._made, None
        try:
            taken = isinstance(self.manager, RootedManager) and self.manager.taken
            if made is not None and made.anchor is not None and not taken:
                self.manager.remove(made.anchor)
            if made is not None and made.storing is not None:
                if made.storing.thread.is_alive():
                    self._note("storing the root's snapshot for the next task")
                made.storing.wait()
                if made.storing.trouble:
                    self._note(f"the snapshot was not stored: {made.storing.trouble}")
        finally:
            if self._lease is not None:
                self._lease.release()


def prepare(
    recipe: Recipe,
    request: TaskRequest,
    facts: Facts,
    manager: ContainerManager,
    images: SnapshotImages,
    *,
    limits: SnapshotLimits | None = None,
    note: Callable[[str], None] = quiet,
    output: Callable[[bytes], None] = no_output,
    cancelled: Cancelled = never,
    give_away: bool = True,
) -> Prepared:
    """The root that the recipe asks for, there and verified; see `engine.buildroot`.

    `note` gets sentences, `output` what the tools print. With `give_away` a root made from nothing is given to the
    task before its snapshot is stored.
    """
    asked = root_request(recipe, request, facts)
    if asked is None:
        return Prepared(facts, manager)
    clock = time.monotonic()
    work = _Preparation(
        recipe, request, facts, manager, images, asked, limits or SnapshotLimits(), note, output, cancelled, give_away
    )
    try:
        prepared = work.run()
    except ToolFailed as error:
        work.state.count("failed")
        raise error.verdict() from None
    finally:
        work.close()
    report = prepared.report
    if report is not None:
        report = attrs.evolve(
            report,
            resolve_seconds=round(work.resolve_seconds, 3),
            make_seconds=round(work.make_seconds, 3),
            waited=round(work.waited, 3),
            seconds=round(time.monotonic() - clock, 3),
        )
        prepared.report = report
        work.state.count(report.decision)
        note(f"buildroot: {report.reason} ({report.seconds:.2f} s)")
    return prepared


@attrs.define
class _Preparation:
    recipe: Recipe
    task: TaskRequest
    facts: Facts
    manager: ContainerManager
    images: SnapshotImages
    asked: RootRequest
    limits: SnapshotLimits
    note: Callable[[str], None]
    output: Callable[[bytes], None]
    cancelled: Cancelled
    give_away: bool
    state: State = field(init=False)
    image: str = field(init=False)
    tools: Tools = field(init=False)
    job: Job | None = field(init=False, default=None)
    storing: bool = False
    resolve_seconds: float = 0.0
    make_seconds: float = 0.0
    waited: float = 0.0
    log: bytearray = field(factory=bytearray)

    def __attrs_post_init__(self) -> None:
        self.state = State(self.facts.settings.workdir)
        self.image = self.facts.image or self.facts.settings.adjutant_task_image_default

    def run(self) -> Prepared:
        contents = [content_of(repo) for repo in self.asked.repos]
        image = self.manager.ensure_image_available(self.image)
        config = self.asked.config()
        cache = self._cache(digest([contents, config]), config)
        self.job = self.state.open_job()
        self.tools = Tools(
            state=self.state,
            job=self.job,
            manager=self.manager,
            facts=self.facts,
            task_id=self.task.task_id,
            image=self.image,
            request=self.asked,
            cache=cache,
            cancelled=self.cancelled,
            say=self._say,
        )
        memo = digest([contents, config, self.asked.group, list(self.asked.packages), image.id, FINISH])
        wanted, resolved = self._wanted(memo)
        base, lease, made, choice = self._acquire(wanted, resolved=resolved)
        prepared = self._prepared(base, choice, made, lease, resolved=resolved)
        self._second_level(prepared, base)
        return prepared

    def close(self) -> None:
        """The job is over, unless a snapshot is still being stored from its directory."""
        if self.job is not None and not self.storing:
            self.job.close()

    def _say(self, data: bytes) -> None:
        self.log.extend(data)
        self.output(data)

    def _cache(self, name: str, config: Mapping[str, Any]) -> Path:
        """The directory of the metadata; it also tells the installing steps what to say to dnf."""
        path = self.state.path / "cache" / name
        path.mkdir(mode=0o755, exist_ok=True)
        with contextlib.suppress(OSError):
            os.utime(path)  # upkeep goes by it
        if not (path / "config.json").exists():
            self.state.write(f"cache/{name}", "config", config)
        return path

    def _wanted(self, memo: str) -> tuple[Snapshot, bool]:
        """What the root must be, and whether it had to be resolved."""
        snapshot = self._known(memo)
        if snapshot is not None:
            return snapshot, False
        # One at a time: they write to the same metadata, and the next one finds out what this one did.
        with self.state.lock(f"cache-{self.tools.cache.name}", cancelled=self.cancelled) or _nothing():
            return self._known(memo) or self._resolved(memo), True

    def _known(self, memo: str) -> Snapshot | None:
        known = self.state.read("known", memo)
        if not known or not known.get("key"):
            return None
        self.state.touch(memo, "known")
        snapshot = self.state.snapshot(str(known["key"]))
        if snapshot is None and "wanted" in known:  # another task makes it just now, or it was pruned
            with contextlib.suppress(KeyError, TypeError, ValueError):
                return snapshot_of(known["wanted"])
        return snapshot

    def _resolved(self, memo: str) -> Snapshot:
        begin = time.monotonic()
        self.note(f"resolving group {self.asked.group}")
        answer = self.tools.resolve()
        self.resolve_seconds = time.monotonic() - begin
        for text in answer["notes"]:
            self.note(str(text))
        packages = packages_of(answer["packages"])
        shape = Shape(arch=self.asked.arch, rpm=str(answer["rpm"]), finish=FINISH)
        key = content_key(packages, shape)
        label = f"{self.asked.group} {self.asked.arch}"
        wanted = Snapshot(key=key, shape=shape, packages=packages, label=label)
        self.state.write("known", memo, {"key": key, "wanted": attrs.asdict(wanted)})
        return wanted

    def _acquire(self, wanted: Snapshot, *, resolved: bool) -> tuple[Snapshot, Lock | None, MadeRoot | None, Choice]:
        """The snapshot, with a lock that keeps it; or the root just made, while its snapshot is being stored."""
        begin = time.monotonic()
        if self._there(wanted.key) is None:
            self._adopt(wanted.key)
        while True:
            if (lease := self.state.try_lock(wanted.key, shared=True)) is not None:
                if (found := self._there(wanted.key)) is not None:
                    self.waited = time.monotonic() - begin
                    self.state.touch(wanted.key)
                    return found, lease, None, self._hit(wanted, resolved=resolved)
                lease.release()
            lock = self.state.lock(
                wanted.key, cancelled=self.cancelled, ready=lambda: self._there(wanted.key) is not None
            )
            if lock is None:
                continue
            if self._there(wanted.key) is not None:  # made while we waited
                lock.release()
                continue
            self.waited = time.monotonic() - begin
            try:
                made, choice = self._make(wanted, lock)
            except BaseException:
                lock.release()
                raise
            self.storing = made.storing is not None
            if made.anchor is not None:
                return made.snapshot, None, made, choice
            if made.storing is not None and made.storing.trouble:
                raise InfrastructureError(f"the snapshot was not stored: {made.storing.trouble}")
            lock.release()
            if self.storing:  # that job ended with the storing
                self.job, self.storing = self.state.open_job(), False
                self.tools = attrs.evolve(self.tools, job=self.job)
            lease = self.state.lock(wanted.key, cancelled=self.cancelled, shared=True)
            if self._there(wanted.key) is not None:
                return made.snapshot, lease, made, choice
            if lease is not None:
                lease.release()

    def _adopt(self, key: str) -> None:
        """Take up what another work directory of this user made in the same storage, with its record.

        It stays the other's: only that one removes it.
        """
        info = self.images.find(image_name(key))
        owner = info.labels.get(LABEL_OWNER, "") if info is not None else ""
        if not owner or owner == str(self.state.path):
            return
        found = foreign_record(owner, key)
        if found is not None and found[0].key == key:
            self.state.write("installed", key, found[1])
            self.state.record(attrs.evolve(found[0], own=0))

    def _hit(self, wanted: Snapshot, *, resolved: bool) -> Choice:
        how = f"the same {len(wanted.packages)} packages" if resolved else "the repo is known"
        after = f", made by another task in {self.waited:.1f} s" if self.waited > 1 else ""
        return Choice(decision="hit", key=wanted.key, reason=f"hit: {how}{after}")

    def _there(self, key: str) -> Snapshot | None:
        """The snapshot when record and image agree: a name alone proves nothing."""
        snapshot = self.state.snapshot(key)
        if snapshot is None:
            return None
        info = self.images.find(image_name(key))
        return snapshot if info is not None and info.labels.get(LABEL_KEY) == key else None

    def _make(self, wanted: Snapshot, lock: Lock) -> tuple[MadeRoot, Choice]:
        """Make it under its lock: as an increment where that is near, else from nothing."""
        begin = time.monotonic()
        self.state.forget(wanted.key)
        choice = choose(
            wanted.key,
            wanted.packages,
            wanted.shape,
            self.state.snapshots(),
            max_chain=self.limits.chain,
            exists=False,
        )
        maker = Maker(state=self.state, images=self.images, manager=self.manager, tools=self.tools, note=self.note)
        self.note(f"buildroot: {choice.reason}")
        try:
            made = self._increment(maker, wanted, choice) if choice.parent is not None else None
            if made is None:
                choice = attrs.evolve(choice, decision="full", parent=None)
                made = maker.full(wanted, lock, give_away=self.give_away)
        finally:
            self.make_seconds += time.monotonic() - begin
            self.state.log_path(wanted.key).write_bytes(bytes(self.log))
        return made, choice

    def _increment(self, maker: Maker, wanted: Snapshot, choice: Choice) -> MadeRoot | None:
        """None when it cannot be made that way; then it is made from nothing."""
        parent = choice.parent
        if parent is None:
            return None
        with self.state.try_lock(parent.key, shared=True) or _nothing() as held:
            if held is None or self._there(parent.key) is None:
                self.note(f"the snapshot {parent.key[:12]} is gone; making the root from nothing")
                return None
            try:
                return maker.increment(wanted, parent, choice)
            except Interrupted:
                raise
            except ToolFailed as error:
                if error.kind in ("disk", "repo"):
                    raise
                self.note(f"not as an increment: {error}; making the root from nothing")
                return None
            except ContainerError as error:
                self.note(f"{error}; making the root from nothing")
                return None

    def _prepared(
        self, base: Snapshot, choice: Choice, made: MadeRoot | None, lease: Lock | None, *, resolved: bool
    ) -> Prepared:
        image = image_name(base.key)
        given = self.facts.buildroot or BuildrootFacts(arch=self.asked.arch)
        facts = attrs.evolve(
            self.facts,
            buildroot=attrs.evolve(
                given,
                arch=given.arch or self.asked.arch,
                image=image,
                key=base.key,
                tools=str(install_tools(self.state)),
                cache=str(self.tools.cache),
            ),
        )
        report = BuildrootReport(
            decision=choice.decision,
            reason=choice.reason,
            key=base.key,
            image=image,
            parent=choice.parent.key if choice.parent else "",
            packages=len(base.packages),
            changed=len(base.packages) if choice.decision == "full" else choice.difference.size,
            resolved=resolved,
            storing=bool(made and made.anchor and made.storing),
        )
        rooted = RootedManager(self.manager, image, made.anchor if made else None)
        prepared = Prepared(facts, rooted, report)
        prepared._lease, prepared._note = lease, self.note
        prepared._made = made
        return prepared

    def _second_level(self, prepared: Prepared, base: Snapshot) -> None:
        """Use or make the root that holds the build requirements as well, for a source package built before."""
        source = self.asked.source
        if not self.limits.repeats_after or source is None or prepared.report is None or not Path(source).is_file():
            return
        macros = [[value.name, value.value] for value in (*self.facts.macros, *self.facts.env)]
        name = digest([base.key, _sha256(source), macros, self.asked.config()["best"], self.task.params.get("arch")])
        rooted = prepared.manager
        known = self.state.read("repeats", name)

        def remember() -> None:
            record = rooted.requirements if isinstance(rooted, RootedManager) else None
            if record is not None and prepared.report is not None and not prepared.report.cached_requirements:
                times = int((known or {}).get("times", 0)) + 1
                self.state.write("repeats", name, {**record, "times": times})

        prepared._remember = remember
        if known is None or int(known.get("times", 0)) < self.limits.repeats_after or prepared._lease is None:
            self.state.count("requirements_miss")
            return
        wanted = _with(base, known)
        if wanted is None:
            return
        lease = prepared._lease
        if self._take_level(prepared, base, wanted, tuple(map(str, known.get("requires", ())))):
            lease.release()

    def _take_level(self, prepared: Prepared, base: Snapshot, wanted: Snapshot, requires: tuple[str, ...]) -> bool:
        """Move the task to the root with its requirements; False when that root cannot be had just now."""
        lease = self.state.try_lock(wanted.key, shared=True)
        if lease is None or self._there(wanted.key) is None:
            if lease is not None:
                lease.release()
            lock = self.state.try_lock(wanted.key)
            if lock is None:
                return False
            self._adopt(wanted.key)
            with lock:
                if self._there(wanted.key) is None and not self._make_level(wanted, base):
                    return False
            lease = self.state.try_lock(wanted.key, shared=True)
            if lease is None or self._there(wanted.key) is None:
                return False
            self.state.count("requirements_made")
        else:
            self.state.count("requirements_hit")
        self.state.touch(wanted.key)
        image = image_name(wanted.key)
        facts = prepared.facts
        if facts.buildroot is None or prepared.report is None:
            return False
        root = attrs.evolve(facts.buildroot, image=image, key=wanted.key, requirements=True, requires=requires)
        prepared.facts = attrs.evolve(facts, buildroot=root)
        prepared.manager = RootedManager(self.manager, image, lists=self._lists(base, wanted))
        prepared.report = attrs.evolve(
            prepared.report,
            image=image,
            key=wanted.key,
            packages=len(wanted.packages),
            cached_requirements=True,
            reason=prepared.report.reason + "; build requirements there already",
        )
        prepared._lease = lease
        return True

    def _lists(self, base: Snapshot, wanted: Snapshot) -> dict[str, str]:
        """What the installing step would have said, from the rpmdbs of the two snapshots."""
        before, after = (self.state.read("installed", item.key) or {} for item in (base, wanted))
        packages = after.get("packages", [])
        return {
            "installed_before.json": json.dumps(before.get("packages", [])),
            "installed_after.json": json.dumps(packages),
            "installed_pkgs.log": installed_log(packages),
        }

    def _make_level(self, wanted: Snapshot, base: Snapshot) -> bool:
        begin = time.monotonic()
        change = difference(base.packages, wanted.packages)
        choice = Choice(decision="increment", key=wanted.key, reason="", parent=base, difference=change)
        maker = Maker(state=self.state, images=self.images, manager=self.manager, tools=self.tools, note=self.note)
        try:
            maker.increment(wanted, base, choice)
        except (ToolFailed, ContainerError) as error:
            self.note(f"no root with build requirements: {error}")
            return False
        finally:
            self.make_seconds += time.monotonic() - begin
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


class _nothing:  # noqa: N801 - stands where a lock could not be had
    def __enter__(self) -> Package | None:
        return None

    def __exit__(self, *_exception: object) -> None: ...
