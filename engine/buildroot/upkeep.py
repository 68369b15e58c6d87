"""Removing what is not needed: leftovers of killed processes, and snapshots beyond the limits, oldest use first.

Only what has our label and names our state directory, and never what a task relies on: its lock is held.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable

from attrs import frozen

from engine.buildroot.images import EMPTY, LABEL_KEY, LABEL_OWNER, SnapshotImages, image_name
from engine.buildroot.prepared import SnapshotLimits
from engine.buildroot.shelf import perhaps_lost
from engine.buildroot.state import State
from engine.buildroot.tools import LABEL_JOB, LABEL_JOB_STATE
from engine.core.errors import InfrastructureError
from engine.core.facts import Settings
from engine.core.manager import ContainerManager
from engine.core.snapshots import Snapshot, digest
from engine.core.spec import LABEL_ROLE, LABEL_WORKER_ID, ContainerHandle

DESERTED_SECONDS = 86400.0
"""An image whose work directory is gone is nobody's after this time."""

SETTLED_SECONDS = 60.0
"""The kernel writes by itself what is older than half of this, so that waiting for the rest costs nobody anything."""

CACHE_SECONDS = 14 * 86400.0
"""Metadata of repositories, and what was resolved from them, are kept this long after their last use."""


@frozen(kw_only=True)
class Removed:
    """What went: keys of snapshots, images without a record, containers and directories of dead processes."""

    snapshots: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    jobs: int = 0
    caches: int = 0


def upkeep(
    settings: Settings,
    images: SnapshotImages,
    manager: ContainerManager,
    *,
    limits: SnapshotLimits | None = None,
    everything: bool = False,
) -> Removed:
    """Sweep leftovers and hold the limits; with `everything` remove all snapshots that nobody uses.

    `limits` are the settings' unless given. InfrastructureError, naming the path, where something cannot be removed.
    """
    try:
        return _upkeep(State(settings.workdir), settings, images, manager, limits, everything=everything)
    except OSError as error:
        where = error.filename or settings.workdir
        raise InfrastructureError(f"cannot tidy up {where}: {error.strerror or error}") from error


def _upkeep(
    state: State,
    settings: Settings,
    images: SnapshotImages,
    manager: ContainerManager,
    limits: SnapshotLimits | None,
    *,
    everything: bool,
) -> Removed:
    containers = _dead_containers(state, settings, manager)
    jobs = state.sweep_jobs()
    lost = _lost_images(state, images)
    records = state.snapshots()
    lost_with_power = [snapshot for snapshot in records if perhaps_lost(snapshot)]
    kept = [snapshot for snapshot in records if not perhaps_lost(snapshot)]
    over = beyond(kept, limits or SnapshotLimits.of(settings.buildroots))
    doomed = records if everything else [*lost_with_power, *over]
    gone = [snapshot.key for snapshot in doomed if _remove(state, images, snapshot.key)]
    _nameless_images(state, images)
    _settle(state)
    if everything and images.find(EMPTY) is not None and not state.snapshots():
        images.remove(EMPTY)
    return Removed(
        snapshots=tuple(gone), images=tuple(lost), containers=containers, jobs=jobs, caches=old_caches(state)
    )


def beyond(snapshots: Iterable[Snapshot], limits: SnapshotLimits) -> list[Snapshot]:
    """The snapshots that are too many, the least lately used first.

    Those of the second level have their own bound on number. `own` is what removing one gives back at best: a
    layer stays as long as a snapshot above it does.
    """
    ranked = sorted(snapshots, key=lambda snapshot: -snapshot.used)
    doomed: list[Snapshot] = []
    kept: list[Snapshot] = []
    repeats = 0
    disk = 0
    for snapshot in ranked:
        repeats += snapshot.level == 2
        over = len(kept) >= limits.count or disk + snapshot.own > limits.disk
        if over or (snapshot.level == 2 and repeats > limits.repeats):
            doomed.append(snapshot)
        else:
            kept.append(snapshot)
            disk += snapshot.own
    return doomed[::-1]


def remove_snapshot(settings: Settings, images: SnapshotImages, key: str) -> bool:
    """Remove one snapshot; False when a task uses it."""
    return _remove(State(settings.workdir), images, key)


def _settle(state: State) -> None:
    """Let what was stored be on disk, so that it is good after a power cut, too."""
    before = time.time() - SETTLED_SECONDS
    keys = [snapshot.key for snapshot in state.snapshots() if snapshot.boot and snapshot.created < before]
    if keys:
        os.sync()
        state.settle(keys)


def _remove(state: State, images: SnapshotImages, key: str) -> bool:
    lock = state.try_lock(key)
    if lock is None:
        return False
    with lock:
        record = state.snapshot(key)
        state.forget(key)
        image = images.find(image_name(key))
        if image is None or image.labels.get(LABEL_OWNER) != str(state.path):
            return True  # another work directory's by now
        if images.remove(image_name(key)):
            return True
        if record is not None:  # a container uses it
            state.record(record)
        return False


def _dead_containers(state: State, settings: Settings, manager: ContainerManager) -> tuple[str, ...]:
    """Containers in which a root was made, when the process that made it is gone: it held their job's lock."""
    removed = []
    found = manager.containers({LABEL_WORKER_ID: settings.worker_id, LABEL_JOB_STATE: digest(str(state.path))})
    # Tools first: their container runs on the root of an anchor.
    for info in sorted(found, key=lambda item: item.labels.get(LABEL_ROLE) == "anchor"):
        lock = state.try_lock(f"job-{info.labels.get(LABEL_JOB, '')}")
        if lock is not None:
            with lock:
                manager.remove(ContainerHandle(id=info.id, name=info.name))
            removed.append(info.name)
    return tuple(removed)


def _lost_images(state: State, images: SnapshotImages) -> list[str]:
    """Images that no record speaks of: the process died between storing and recording, or its directory is gone."""
    removed = []
    for image in images.ours():
        key = image.labels.get(LABEL_KEY, "")
        owner = image.labels.get(LABEL_OWNER, "")
        deserted = not os.path.isdir(owner) and time.time() - image.created > DESERTED_SECONDS
        if (owner != str(state.path) and not deserted) or key in ("", "empty"):
            continue
        if owner == str(state.path) and state.snapshot(key):
            continue
        lock = state.try_lock(key)
        if lock is None:
            continue
        with lock:
            if (
                (deserted or state.snapshot(key) is None)
                and image_name(key) in image.names
                and images.remove(image_name(key))
            ):
                removed.append(key)
    return removed


def _nameless_images(state: State, images: SnapshotImages) -> None:
    """What was the base of other snapshots when its name went, and is not any more."""
    nameless = [
        image for image in images.ours() if not image.names and image.labels.get(LABEL_OWNER) == str(state.path)
    ]
    for image in sorted(nameless, key=lambda item: -item.created):  # what was made on others first
        images.remove(image.id)


def old_caches(state: State) -> int:
    """Remove metadata, and what was resolved from them, that nobody used for long; how many."""
    count = 0
    for part in ("cache", "known", "repeats"):
        for path in (state.path / part).iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process took it away, or gave it its name
                if time.time() - path.stat().st_mtime > CACHE_SECONDS:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                    count += 1
    return count
