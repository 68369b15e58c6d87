"""From facts to the root of a task: found, made from the nearest snapshot, or made from nothing."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import field

from engine.buildroot.images import SnapshotImages, image_name
from engine.buildroot.make import MadeRoot, Maker
from engine.buildroot.prepared import Prepared, SnapshotLimits, never, no_output, quiet
from engine.buildroot.repeats import Repeats
from engine.buildroot.repos import content_of
from engine.buildroot.rooted import RootedManager
from engine.buildroot.shelf import Shelf
from engine.buildroot.state import Job, Lock, State
from engine.buildroot.tools import FINISH, INIT_FAILED, ToolFailed, Tools, install_tools
from engine.core.errors import ContainerError, InfrastructureError, Interrupted
from engine.core.facts import BuildrootFacts, Facts, TaskRequest
from engine.core.manager import Cancelled, ContainerManager
from engine.core.recipe import Recipe
from engine.core.render import image_of
from engine.core.roots import RootRequest, root_request
from engine.core.snapshots import (
    BuildrootReport,
    Choice,
    Shape,
    Snapshot,
    choose,
    content_key,
    digest,
    packages_of,
    snapshot_of,
)


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
    phase: Callable[[str], None] = quiet,
    cancelled: Cancelled = never,
    give_away: bool = True,
    source: str | None = None,
    counted: bool = True,
) -> Prepared:
    """The root that the recipe asks for, there and verified; see `engine.buildroot`.

    `note` gets sentences, `output` what the tools print, `phase` ``Start: …`` and ``Finish: …`` of what is done. With
    `give_away` a root made from nothing is given to the task before its snapshot is stored. `limits` are the settings'
    unless given. `source` is the host path of the input that the requirements are of, where the caller has fetched it.
    Not `counted`: nobody needs the root yet.
    """
    asked = root_request(recipe, request, facts)
    if asked is None:
        return Prepared(facts, manager)
    if source is not None:
        asked = attrs.evolve(asked, source=source)
    clock = time.monotonic()
    limits = limits or SnapshotLimits.of(facts.settings.buildroots)
    phase("Start: buildroot")
    prepared: Prepared | None = None
    said = (note, output, phase)
    work = _Preparation(recipe, request, facts, manager, images, asked, limits, *said, cancelled, give_away)
    try:
        prepared = work.run()
    except ToolFailed as error:
        if counted:
            work.state.count("failed")
        raise error.verdict() from None
    except OSError as error:  # of the state directory: no room, read-only, gone
        where = error.filename or work.state.path
        raise InfrastructureError(f"{INIT_FAILED}: {where}: {error.strerror or error}") from error
    finally:
        work.close()
        phase("Finish: buildroot" + ("" if prepared is not None else ", failed"))
    report = prepared.report
    if report is not None:
        report = attrs.evolve(
            report,
            resolve_seconds=round(work.resolve_seconds, 3),
            make_seconds=round(work.make_seconds + report.make_seconds, 3),
            waited=round(work.waited, 3),
            seconds=round(time.monotonic() - clock, 3),
        )
        prepared.report = report
        if counted:
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
    phase: Callable[[str], None]
    cancelled: Cancelled
    give_away: bool
    state: State = field(init=False)
    shelf: Shelf = field(init=False)
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
        self.shelf = Shelf(state=self.state, images=self.images)
        self.image = image_of(self.task, self.facts)

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
            phase=self.phase,
        )
        memo = digest([contents, config, self.asked.group, list(self.asked.packages), image.id, FINISH])
        wanted, resolved = self._wanted(memo)
        base, lease, made, choice = self._acquire(wanted, resolved=resolved)
        prepared = self._prepared(base, choice, made, lease, resolved=resolved)
        try:
            Repeats(
                shelf=self.shelf,
                maker=self._maker(),
                facts=self.facts,
                task=self.task,
                asked=self.asked,
                within=memo,
                recipe=self.recipe,
                limits=self.limits,
                note=self.note,
            ).apply(prepared, base)
        except BaseException:
            prepared.close()
            raise
        return prepared

    def _maker(self) -> Maker:
        return Maker(state=self.state, images=self.images, manager=self.manager, tools=self.tools, note=self.note)

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
        with self.state.lock(f"cache-{self.tools.cache.name}", cancelled=self.cancelled) or contextlib.nullcontext():
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
        shape = Shape(
            arch=self.asked.arch,
            rpm=str(answer["rpm"]),
            finish=FINISH,
            options=self.asked.shaping(),
            macros=tuple(map(str, answer["macros"])),
        )
        key = content_key(packages, shape)
        wanted = Snapshot(key=key, shape=shape, packages=packages, label=self.asked.label())
        self.state.write("known", memo, {"key": key, "wanted": attrs.asdict(wanted)})
        return wanted

    def _acquire(self, wanted: Snapshot, *, resolved: bool) -> tuple[Snapshot, Lock | None, MadeRoot | None, Choice]:
        """The snapshot, with a lock that keeps it; or the root just made, while its snapshot is being stored."""
        begin = time.monotonic()
        self.shelf.take(wanted.key)
        while True:
            if (lease := self.state.try_lock(wanted.key, shared=True)) is not None:
                if (found := self.shelf.find(wanted.key)) is not None:
                    self.waited = time.monotonic() - begin
                    self.state.touch(wanted.key)
                    return found, lease, None, self._hit(wanted, resolved=resolved)
                lease.release()
            lock = self.state.lock(
                wanted.key, cancelled=self.cancelled, ready=lambda: self.shelf.find(wanted.key) is not None
            )
            if lock is None:
                continue
            if self.shelf.find(wanted.key) is not None:  # made while we waited
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
            if (found := self.shelf.find(wanted.key)) is not None:
                return found, lease, made, choice
            if lease is not None:
                lease.release()

    def _hit(self, wanted: Snapshot, *, resolved: bool) -> Choice:
        how = f"the same {len(wanted.packages)} packages" if resolved else "the repo is known"
        after = f", made by another task in {self.waited:.1f} s" if self.waited > 1 else ""
        return Choice(decision="hit", key=wanted.key, reason=f"hit: {how}{after}")

    def _make(self, wanted: Snapshot, lock: Lock) -> tuple[MadeRoot, Choice]:
        """Make it under its lock: as an increment where that is near, else from nothing."""
        begin = time.monotonic()
        self.state.forget(wanted.key)
        choice = choose(
            wanted.key,
            wanted.packages,
            wanted.shape,
            self.shelf.records(),
            max_chain=self.limits.chain,
            exists=False,
        )
        maker = self._maker()
        self.note(f"buildroot: {choice.reason}")
        try:
            made, why = self._increment(maker, wanted, choice) if choice.parent is not None else (None, "")
            if made is None:
                if choice.parent is not None:
                    reason = f"miss: {choice.difference.words()}; not from {choice.parent.key[:12]}: {why}"
                    choice = attrs.evolve(choice, decision="full", parent=None, reason=reason)
                    self.note(f"buildroot: {reason}")
                made = maker.full(wanted, lock, give_away=self.give_away)
        finally:
            self.make_seconds += time.monotonic() - begin
            with contextlib.suppress(OSError):  # for people to read; it must not hide what went wrong
                self.state.log_path(wanted.key).write_bytes(bytes(self.log))
        return made, choice

    def _increment(self, maker: Maker, wanted: Snapshot, choice: Choice) -> tuple[MadeRoot | None, str]:
        """None, and why, when it cannot be made that way; then it is made from nothing."""
        parent = choice.parent
        if parent is None:
            return None, "there is no start"
        with self.state.try_lock(parent.key, shared=True) or contextlib.nullcontext() as held:
            if held is None or self.shelf.find(parent.key) is None:
                return None, "it is gone"
            try:
                return maker.increment(wanted, parent, choice), ""
            except Interrupted:
                raise
            except ToolFailed as error:
                if error.kind in ("disk", "repo"):
                    raise
                return None, str(error)
            except ContainerError as error:
                if "no space left" in str(error).lower():  # a root from nothing needs even more
                    raise InfrastructureError(f"{INIT_FAILED}: disk full: {error}") from None
                return None, str(error)

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
        rooted = RootedManager(self.manager, image, self.shelf, base.key, made.anchor if made else None)
        prepared = Prepared(facts, rooted, report)
        prepared.lease, prepared.made, prepared.note = lease, made, self.note
        return prepared
