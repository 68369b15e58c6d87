"""The snapshots that are there: record and image must agree."""

from __future__ import annotations

import attrs
from attrs import frozen

from engine.buildroot.images import LABEL_OWNER, SnapshotImages, image_name
from engine.buildroot.state import State, foreign_record, this_boot
from engine.core.snapshots import Snapshot


def perhaps_lost(snapshot: Snapshot) -> bool:
    """Whether the host went down before the image was known to be on disk."""
    return snapshot.boot not in ("", this_boot())


@frozen(kw_only=True)
class Shelf:
    """Snapshots of one state directory in one storage."""

    state: State
    images: SnapshotImages

    def find(self, key: str) -> Snapshot | None:
        """The snapshot when the image of its name is the one that was recorded: names and labels prove nothing."""
        snapshot = self.state.snapshot(key)
        if snapshot is None or perhaps_lost(snapshot):
            return None
        info = self.images.find(image_name(key))
        return snapshot if info is not None and info.id == snapshot.image else None

    def take(self, key: str) -> Snapshot | None:
        """The snapshot, be it ours or another work directory's, which may have stored the same content just now."""
        found = self.find(key)
        if found is None:
            self.adopt(key)
            found = self.find(key)
        return found

    def records(self) -> list[Snapshot]:
        """Every record that may be believed, most lately used first; whether its image is there was not asked."""
        return [snapshot for snapshot in self.state.snapshots() if not perhaps_lost(snapshot)]

    def adopt(self, key: str) -> None:
        """Take up what another work directory of this user made in the same storage, with its record.

        It stays the other's: only that one removes it.
        """
        info = self.images.find(image_name(key))
        owner = info.labels.get(LABEL_OWNER, "") if info is not None else ""
        if not owner or owner == str(self.state.path):
            return
        found = foreign_record(owner, key)
        if info is not None and found is not None and found[0].key == key and found[0].image == info.id:
            self.state.write("installed", key, found[1])
            self.state.record(attrs.evolve(found[0], own=0))
