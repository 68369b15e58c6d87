"""A power cut leaves no record that speaks of what is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attrs import evolve

from engine.buildroot import upkeep
from engine.buildroot.images import image_name
from engine.buildroot.state import State, this_boot
from engine.core.errors import InfrastructureError
from engine.core.snapshots import Snapshot
from tests.buildroot.roots import Place, SmallRepo


def test_a_record_is_on_disk_before_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(str(tmp_path))
    record = state.path / "snapshots" / "k.json"
    seen: list[tuple[str, bool]] = []

    def watched(descriptor: int, real: object = os.fsync) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        size = Path(target).stat().st_size
        seen.append(("directory" if os.path.isdir(target) else f"{size} bytes", record.exists()))
        real(descriptor)  # type: ignore[operator]

    monkeypatch.setattr(os, "fsync", watched)
    state.write("snapshots", "k", {"a": 1})
    assert seen == [("7 bytes", False), ("directory", True)]
    assert [path.name for path in record.parent.iterdir()] == ["k.json"]


def test_a_record_that_could_not_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = State(str(tmp_path))
    state.write("known", "k", {"a": 1})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InfrastructureError, match="cannot write .*k.json: No space left on device"):
        state.write("known", "k", {"a": 2})
    assert state.read("known", "k") == {"a": 1}
    assert [path.name for path in (state.path / "known").iterdir()] == ["k.json"]


def _record(place: Place, key: str) -> Snapshot:
    snapshot = place.state.snapshot(key)
    assert snapshot is not None
    return snapshot


@pytest.mark.podman
def test_what_was_stored_just_before_a_power_cut_is_not_believed(place: Place, repo: SmallRepo) -> None:
    """podman does not wait until an image is on disk; a record must not say that it is."""
    with place.prepare(repo) as root:
        assert root.report is not None
        key = root.report.key
    stored = _record(place, key)
    assert stored.boot == this_boot()
    upkeep(place.settings, place.images, place.manager)
    assert _record(place, key).boot == this_boot()  # it may not have been written yet
    # After a minute it is seen to, and holds in every later run of the host.
    place.state.record(evolve(stored, created=stored.created - 120))
    os.utime(place.state.path / "snapshots" / f"{key}.json", (1e9, 1e9))
    upkeep(place.settings, place.images, place.manager)
    assert (_record(place, key).boot, _record(place, key).used) == ("", 1e9)
    with place.prepare(repo) as root:
        assert root.report is not None
        assert root.report.decision == "hit"
    # The host went down before that.
    place.state.record(evolve(stored, boot="another"))
    with place.prepare(repo) as root:
        assert root.report is not None
        assert (root.report.decision, root.report.reason) == ("full", "miss: no snapshot of x86_64 yet")
        assert place.run(root, "cat /usr/share/marker/text") == "x\n"
    place.state.record(evolve(_record(place, key), boot="another"))
    assert upkeep(place.settings, place.images, place.manager).snapshots == (key,)
    assert place.images.find(image_name(key)) is None
