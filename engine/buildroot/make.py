"""Making a snapshot: from the nearest one, or from nothing. Nothing has its name before it was verified."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from attrs import asdict, define, frozen

from engine.buildroot.images import EMPTY, LABEL_KEY, LABEL_OWNER, SnapshotImages, image_name
from engine.buildroot.state import Lock, State, this_boot
from engine.buildroot.tools import LABEL_JOB, LABEL_JOB_STATE, Tools
from engine.core.errors import ContainerError, EngineError, Interrupted
from engine.core.manager import ContainerManager, ImageInfo
from engine.core.rendering import container_name, labels, selinux_level
from engine.core.snapshots import Choice, Snapshot
from engine.core.spec import LABEL_ROLE, LABEL_TASK_ID, LABEL_WORKER_ID, AnchorSpec, ContainerHandle

ROLE = "anchor"


@define
class Storing:
    """A snapshot being stored in the background while the task runs; `trouble` says why it could not be."""

    thread: threading.Thread
    trouble: str = ""

    def wait(self) -> None:
        self.thread.join()


@frozen(kw_only=True)
class MadeRoot:
    """A root that was just made and holds nothing but its packages. `anchor` is given away to the task, or None."""

    snapshot: Snapshot
    anchor: ContainerHandle | None = None
    storing: Storing | None = None


@frozen(kw_only=True)
class Maker:
    """Makes snapshots with one task's tools. The caller holds the key's lock."""

    state: State
    images: SnapshotImages
    manager: ContainerManager
    tools: Tools
    note: Callable[[str], None]

    def increment(self, wanted: Snapshot, parent: Snapshot, choice: Choice) -> MadeRoot:
        """A snapshot as a layer on `parent`."""
        anchor = self._anchor(image_name(parent.key), "make")
        try:
            answer = self._apply(anchor, wanted, parent)
            # An image takes over its container's labels, and hands them on to every container made of it.
            stale = dict.fromkeys((LABEL_TASK_ID, LABEL_WORKER_ID, LABEL_ROLE, LABEL_JOB, LABEL_JOB_STATE), "none")
            self.images.commit(anchor, image_name(wanted.key), {**stale, **self._labels(wanted.key)})
        finally:
            self._discard(anchor)
        info = self.images.find(image_name(wanted.key))
        if info is None:
            raise ContainerError("store snapshot", image_name(wanted.key), "podman took it, but it is not there")
        own = max(0, info.size - parent.stored)
        return MadeRoot(snapshot=self._record(_told(wanted, answer), parent, info, size=int(answer["size"]), own=own))

    def full(self, wanted: Snapshot, lock: Lock, *, give_away: bool) -> MadeRoot:
        """A snapshot from nothing. With `give_away` the task gets the root it was made in at once.

        The image is stored in the background from an archive that is written before anybody may touch the
        root; `lock` is let go of when that is done. Without `give_away` it is stored before this returns.
        """
        if self.images.find(EMPTY) is None:
            self.images.make_empty(self._labels("empty"))
        facts, task = self.tools.facts, self.tools.task_id
        name = container_name(facts, task, "root") if give_away else ""
        anchor = self._anchor(EMPTY, "make", name)
        try:
            answer = self._apply(anchor, wanted, None)
            wanted = _told(wanted, answer)
            size = int(answer["size"])
            content = {
                "image": image_name(wanted.key),
                "labels": self._labels(wanted.key),
                "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            storing = None
            try:
                storing = self._store(self.tools.archive(anchor.name, content), wanted, size, lock)
            except EngineError as error:
                if not give_away or isinstance(error, Interrupted):
                    raise
                self.note(f"the snapshot is not stored: {error}")
        except BaseException:
            self._discard(anchor)
            raise
        if storing is None:
            lock.release()
        if not give_away:
            self._discard(anchor)
            if storing is not None:
                storing.wait()
        made = attrs.evolve(wanted, size=size, own=size)
        return MadeRoot(snapshot=made, anchor=anchor if give_away else None, storing=storing)

    def _discard(self, anchor: ContainerHandle) -> None:
        """Remove it; what became of the root, or why nothing did, counts more. Housekeeping finds what stays."""
        try:
            self.manager.remove(anchor)
        except ContainerError as error:
            self.note(str(error))

    def _store(self, archive: Path, wanted: Snapshot, size: int, lock: Lock) -> Storing:
        def work() -> None:
            try:
                self.images.load(archive)
                info = self.images.find(image_name(wanted.key))
                if info is None or info.labels.get(LABEL_KEY) != wanted.key:
                    storing.trouble = "podman did not take the archive"
                    return
                self._record(wanted, None, info, size=size, own=size)
            except EngineError as error:
                storing.trouble = str(error)
            except OSError as error:
                storing.trouble = f"{archive}: {error.strerror or error}"
            finally:
                self.tools.job.close()
                lock.release()

        storing = Storing(threading.Thread(target=work, name="store-snapshot"))
        storing.thread.start()
        return storing

    def _anchor(self, image: str, part: str, name: str = "") -> ContainerHandle:
        facts, task = self.tools.facts, self.tools.task_id
        spec = AnchorSpec(
            name=name or container_name(facts, task, f"{part}-{secrets.token_hex(4)}"),
            image=image,
            labels={**labels(facts, task, ROLE), **({} if name else self.tools.labels())},
            selinux_type=facts.settings.selinux_type,
            selinux_level=selinux_level(facts, task),
        )
        return self.manager.create_anchor(spec)

    def _apply(self, anchor: ContainerHandle, wanted: Snapshot, parent: Snapshot | None) -> Mapping[str, Any]:
        old = {package.nevra: package.checksum for package in parent.packages} if parent else {}
        again = [p.nevra for p in wanted.packages if p.nevra in old and old[p.nevra] != p.checksum]
        answer = self.tools.apply(anchor.name, [asdict(package) for package in wanted.packages], again)
        self.state.write("installed", wanted.key, {"packages": answer["installed"]})
        return answer

    def _labels(self, key: str) -> dict[str, str]:
        return {LABEL_KEY: key, LABEL_OWNER: str(self.state.path)}

    def _record(self, wanted: Snapshot, parent: Snapshot | None, info: ImageInfo, *, size: int, own: int) -> Snapshot:
        snapshot = attrs.evolve(
            wanted,
            image=info.id,
            parent=parent.key if parent else "",
            chain=parent.chain + 1 if parent else 0,
            size=size,
            own=own,
            stored=info.size,
            boot=this_boot(),
            created=time.time(),
        )
        self.state.record(snapshot)
        return snapshot


def _told(wanted: Snapshot, answer: Mapping[str, Any]) -> Snapshot:
    """With what the tool found out when it had made the root."""
    return attrs.evolve(wanted, lasting=tuple(map(str, answer["lasting"])))
