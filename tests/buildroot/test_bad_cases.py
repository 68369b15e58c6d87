"""What goes wrong while a root is made: whose fault it is, the words, and that nothing half-made is ever used."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.buildroot import PodmanSnapshotImages, upkeep
from engine.buildroot.images import LABEL_KEY, StoredImage, image_name
from engine.core.errors import ContainerError, InfrastructureError, Interrupted, TaskFailed
from engine.core.facts import BuildrootLimits
from engine.core.manager import Outcome
from engine.core.spec import ContainerHandle, ContainerSpec
from tests.buildroot.roots import Place, SmallRepo, with_group
from tests.podmanhost import podman

pytestmark = pytest.mark.podman
MakePackage = Callable[..., Path]
EVIL = f"io.koji.adjutant.test=evil-{os.getpid()}"


def test_a_group_that_is_not_there(place: Place, repo: SmallRepo) -> None:
    with pytest.raises(TaskFailed, match="Module or Group 'nosuch' is not available.*its groups are: build") as caught:
        place.prepare(repo, recipe=with_group("nosuch"))
    assert caught.value.fault == "BuildrootError"
    init = "could not init mock buildroot, mock exited with status 30; see root.log for more information: Module or"
    assert str(caught.value).startswith(init)
    assert caught.value.log == "root.log"
    assert place.state.counts() == {"failed": 1}


def test_a_group_that_cannot_be_installed_is_told_in_dnfs_words(
    place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    repo.put(make_package("marker", "7", head="Requires: no-such-thing >= 3"))
    repo.put(make_package("marker-too", "7", head="Requires: no-such-thing-either"))
    repo.remove("marker-1-*.rpm")
    repo.members.append("marker-too")
    repo.index()
    said = bytearray()
    with pytest.raises(TaskFailed) as caught:
        place.prepare(repo, output=said.extend)
    assert caught.value.fault == "BuildrootError"
    text = str(caught.value)
    assert text.startswith(
        "could not init mock buildroot, mock exited with status 30; see root.log for more information: "
    )
    assert re.search(r"nothing provides no-such-thing\S* (>= 3 )?needed by marker\S*-7-1.noarch.* \(1 more\)$", text), (
        text
    )
    assert text.isprintable()
    both = said.decode()
    assert "nothing provides no-such-thing >= 3 needed by" in both
    assert "nothing provides no-such-thing-either needed by" in both


def test_a_repo_that_is_gone(place: Place, repo: SmallRepo) -> None:
    (repo.path / "repodata" / "repomd.xml").unlink()
    with pytest.raises(InfrastructureError, match=r"repository build cannot be read: .*No such file"):
        place.prepare(repo)


def test_a_repo_that_is_half_written(place: Place, repo: SmallRepo) -> None:
    repomd = repo.path / "repodata" / "repomd.xml"
    whole = repomd.read_text()
    repomd.write_text(whole[: len(whole) // 2])
    with pytest.raises(InfrastructureError, match="repository build is half-written"):
        place.prepare(repo)
    repomd.write_text(whole)
    next(repo.path.glob("repodata/*primary.xml*")).unlink()
    with pytest.raises(InfrastructureError, match="a repository cannot be read"):
        place.prepare(repo)


def test_a_corrupt_package(place: Place, repo: SmallRepo) -> None:
    package = next(repo.path.glob("grep-*.rpm"))
    data = bytearray(package.read_bytes())
    data[-100] ^= 0xFF
    package.unlink()
    package.write_bytes(data)
    with pytest.raises(InfrastructureError, match="(?i)checksum|digest"):
        place.prepare(repo)
    _nothing_made(place)


def test_a_package_that_changed_after_it_was_resolved(place: Place, repo: SmallRepo, make_package: MakePackage) -> None:
    """The metadata still speak of the old file: dnf must not take the new one for it."""
    repo.put(make_package("marker", "1", "another build"))
    with pytest.raises(InfrastructureError, match="(?i)checksum|marker"):
        place.prepare(repo)
    _nothing_made(place)


def test_a_package_that_refuses_to_be_installed(place: Place, repo: SmallRepo, make_package: MakePackage) -> None:
    repo.replace("marker-*.rpm", make_package("marker", "8", tail="%pre\nexit 1"))
    with pytest.raises(TaskFailed, match="scriptlet in rpm package marker") as caught:
        place.prepare(repo)
    assert caught.value.fault == "BuildrootError"
    _nothing_made(place)


def test_a_scriptlet_that_fails_after_its_package_was_installed(
    place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    """dnf goes on and ends well; so the root is made, and its log says what happened."""
    repo.replace("marker-*.rpm", make_package("marker", "8", tail="%post\nexit 1"))
    said = bytearray()
    with place.prepare(repo, output=said.extend) as root:
        assert place.run(root, "cat /usr/share/marker/text") == "x\n"
    assert "warning: Error in POSTIN scriptlet in rpm package marker" in said.decode()


def test_a_task_that_is_stopped_while_its_root_is_made(place: Place, repo: SmallRepo) -> None:
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        place.prepare(repo, cancelled=lambda: bool(_running(place.settings.worker_id, "apply")))
    assert time.monotonic() - begun < 60
    _nothing_made(place)


@pytest.mark.parametrize("removed", ["image", "record"])
def test_a_snapshot_that_somebody_removed(shared: Place, repo: SmallRepo, removed: str) -> None:
    with shared.prepare(repo) as root:
        assert root.report is not None
        key = root.report.key
    if removed == "image":
        podman("rmi", "--force", image_name(key))
    else:
        shared.state.forget(key)
    with shared.prepare(repo) as root:
        assert root.report is not None
        assert root.report.decision in ("increment", "full")
        assert root.report.key == key
        assert shared.run(root, "cat /usr/share/marker/text") == "x\n"


def test_a_name_alone_is_not_believed(place: Place, repo: SmallRepo, task_image: str) -> None:
    """An image under the snapshot's name that is not what was verified, and a record beside it."""
    with place.prepare(repo) as root:
        assert root.report is not None
        name = image_name(root.report.key)
    podman("rmi", name)
    podman("tag", task_image, name)
    try:
        with place.prepare(repo) as root:
            assert root.report is not None
            assert root.report.decision == "full"
            assert place.run(root, "cat /usr/share/marker/text") == "x\n"
    finally:
        podman("rmi", name, check=False)


def test_the_images_id_is_part_of_the_record(place: Place, repo: SmallRepo) -> None:
    """An image under the snapshot's name and with its label, but not the one that was verified."""
    with place.prepare(repo) as root:
        assert root.report is not None
        name = image_name(root.report.key)
    snapshot = place.state.snapshot(root.report.key)
    assert snapshot is not None
    assert snapshot.image == podman("image", "inspect", "--format", "{{.Id}}", name).strip()
    _replaced_by_an_evil_one(name)
    with place.prepare(repo) as root:
        assert root.report is not None
        assert root.report.decision == "full"
        assert place.run(root, "cat /usr/share/marker/text") == "x\n"
    _forget_the_evil_one()


@pytest.mark.parametrize("removed", [True, False], ids=["removed", "replaced"])
def test_a_snapshot_that_goes_between_prepare_and_clone(place: Place, repo: SmallRepo, removed: bool) -> None:
    with place.prepare(repo):
        pass
    with place.prepare(repo) as root:  # a hit: the root is to be cloned
        assert root.report is not None
        image = image_name(root.report.key)
        if removed:
            podman("rmi", "--force", image)
        else:
            _replaced_by_an_evil_one(image)
        word = "was removed" if removed else "was replaced by another image"
        with pytest.raises(ContainerError, match=f"clone root {image}: the snapshot {word} after the task") as caught:
            root.manager.ensure_image_available(image)
        assert caught.value.retry
        if removed:  # after it was looked for
            with pytest.raises(ContainerError, match=f"clone root {image}: the snapshot {word} after the task"):
                place.run(root, "true")
    with place.prepare(repo) as root:
        assert root.report is not None
        assert root.report.decision == "full"
        assert place.run(root, "cat /usr/share/marker/text") == "x\n"
    _forget_the_evil_one()


def _replaced_by_an_evil_one(name: str) -> None:
    container = podman("create", name, "/x").strip()
    podman("commit", "--quiet", "--change", f"LABEL {EVIL}", container, name)
    podman("rm", container)


def _forget_the_evil_one() -> None:
    """By its id: `podman image prune` fails where another session removes an image at that moment."""
    podman("rmi", "--force", *podman("images", "--quiet", "--filter", f"label={EVIL}").split(), check=False)


class SmallTarget:
    """A manager whose anchors' roots lie on a small file system: everything else is the real one's."""

    def __init__(self, inner: PodmanManager, target: Path) -> None:
        self._inner, self._target = inner, target

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, spec: ContainerSpec, **keywords: Any) -> Outcome:
        mounts = [
            evolve(mount, source=str(self._target)) if mount.source.startswith("root:") else mount
            for mount in spec.mounts
        ]
        return self._inner.run(evolve(spec, mounts=tuple(mounts)), **keywords)


@pytest.mark.parametrize("size", ["10m", "52m"])
def test_a_full_disk(tmp_path: Path, place: Place, repo: SmallRepo, size: str) -> None:
    """Too small from the start, which dnf finds out beforehand, and too small for what is written besides."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    target = tmp_path / "small"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(target)], check=True)
    try:
        small = evolve(place, manager=SmallTarget(place.manager, target))
        with pytest.raises(InfrastructureError, match="could not init mock buildroot: disk full: ") as caught:
            small.prepare(repo)
        assert "space" in str(caught.value)
    finally:
        subprocess.run(["umount", str(target)], check=True)
    _nothing_made(place)


@contextlib.contextmanager
def small_file_system(target: Path, size: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(target)], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", "--lazy", str(target)], check=True)


def test_a_disk_that_is_full_while_the_archive_is_written(place: Place, repo: SmallRepo) -> None:
    """The build needs no archive: it goes on, and the next one makes the root again."""
    notes: list[str] = []
    with small_file_system(place.state.path / "jobs", "40m"):
        with place.prepare(repo, give_away=True, note=notes.append) as root:
            assert root.report is not None
            assert (root.report.decision, root.report.storing) == ("full", False)
            anchor = f"adjutant-{place.settings.worker_id}-1-root"
            assert int(place.run_on(anchor, "rpm -qa | wc -l")) == root.report.packages
        (note,) = [text for text in notes if "not stored" in text]
        assert "disk full" in note or "No space left" in note, note
        assert list((place.state.path / "jobs").iterdir()) == []
        with pytest.raises(InfrastructureError, match="could not init mock buildroot: disk full: .*[Nn]o space left"):
            place.prepare(repo)
        _nothing_made(place)
    with place.prepare(repo) as root:
        assert root.report is not None
        assert root.report.decision == "full"


def test_a_disk_that_is_full_while_podman_stores(
    tmp_path: Path, place: Place, repo: SmallRepo, make_package: MakePackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """podman puts what it commits or loads on a temporary file first: here there is no room for it."""
    place.prepare(repo).close()
    (known,) = place.state.snapshots()
    repo.replace("marker-*.rpm", make_package("marker", "2"))
    with small_file_system(tmp_path / "small", "2m") as small:
        monkeypatch.setenv("TMPDIR", str(small))
        with PodmanManager(PodmanConfig(worker_id=place.settings.worker_id)) as manager:
            tight = evolve(place, manager=manager, images=PodmanSnapshotImages(manager.service))
            with pytest.raises(InfrastructureError, match="(?i)init mock buildroot: disk full: .*no space left"):
                tight.prepare(repo)
            assert place.state.snapshots() == [known]
            without = evolve(tight, settings=evolve(tight.settings, buildroots=BuildrootLimits(chain=0)))
            with pytest.raises(InfrastructureError, match="(?i)the snapshot was not stored: .*no space left"):  # load
                without.prepare(repo)
            assert place.state.snapshots() == [known]
            notes: list[str] = []
            with without.prepare(repo, give_away=True, note=notes.append) as root:
                assert root.report is not None
                assert root.report.decision == "full"
            assert "no space left" in notes[-1].lower()
        monkeypatch.delenv("TMPDIR")
    upkeep(place.settings, place.images, place.manager)
    assert [item.labels[LABEL_KEY] for item in place.images.ours() if _is_of(item, place)] == [known.key]
    with place.prepare(repo) as root:
        assert root.report is not None
        assert root.report.decision == "increment"


def _is_of(item: StoredImage, place: Place) -> bool:
    mine = item.labels.get("io.koji.adjutant.buildroot.state") == str(place.state.path)
    return mine and item.labels[LABEL_KEY] != "empty"


def _nothing_made(place: Place) -> None:
    assert place.state.snapshots() == []
    owned = [
        item
        for item in place.images.ours()
        if item.labels.get("io.koji.adjutant.buildroot.state") == str(place.state.path)
    ]
    assert [item.names for item in owned if item.labels[LABEL_KEY] != "empty"] == []
    assert place.manager.containers({"io.koji.adjutant.worker_id": place.settings.worker_id}) == []


def _running(worker: str, part: str) -> list[str]:
    names = podman("ps", "--format", "{{.Names}}", "--filter", f"label=io.koji.adjutant.worker_id={worker}").split()
    return [name for name in names if f"-{part}" in name]


def fill(place: Path) -> None:
    with contextlib.suppress(OSError), (place / "full").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@pytest.mark.parametrize("part", ["cache", "jobs", "snapshots", "tools"])
def test_a_full_work_directory_is_this_hosts_fault(place: Place, repo: SmallRepo, part: str) -> None:
    """Whatever is written first where there is no room; the worker would call any other error a bug of the engine."""
    with small_file_system(place.state.path / part, "64k") as small:
        fill(small)
        with pytest.raises(InfrastructureError, match=f"{place.state.path}.*[Nn]o space left"):
            place.prepare(repo)
    upkeep(place.settings, place.images, place.manager)  # an image that could not be recorded is nobody's
    _nothing_made(place)


def test_a_log_that_cannot_be_written_does_not_hide_why_a_root_could_not_be_made(
    place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    repo.replace("marker-*.rpm", make_package("marker", "8", tail="%pre\nexit 1"))
    with small_file_system(place.state.path / "snapshots", "64k") as small:
        fill(small)
        with pytest.raises(TaskFailed, match="scriptlet in rpm package marker"):
            place.prepare(repo)


def test_what_cannot_be_tidied_up_is_named(place: Place) -> None:
    with small_file_system(place.state.path / "cache", "64k") as small:
        (small / "old").mkdir()
        os.utime(small / "old", (0, 0))
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        with pytest.raises(InfrastructureError, match="cannot tidy up .*old: Read-only file system"):
            upkeep(place.settings, place.images, place.manager)


class Clinging:
    """A manager that cannot remove anchors; everything else is the real one's."""

    def __init__(self, inner: PodmanManager) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def remove(self, handle: ContainerHandle, *, force: bool = True) -> bool:
        raise ContainerError("remove container", handle.name, "it clings")


def test_an_anchor_that_cannot_be_removed_hides_nothing(
    place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    """Neither a root that was made nor why one was not; housekeeping removes it."""
    clinging = evolve(place, manager=Clinging(place.manager))
    notes: list[str] = []
    with clinging.prepare(repo, note=notes.append) as root:
        assert root.report is not None
        assert (root.report.decision, "it clings" in " ".join(notes)) == ("full", True)
    repo.replace("marker-*.rpm", make_package("marker", "2"))
    with clinging.prepare(repo) as root:
        assert root.report is not None
        assert root.report.decision == "increment"
    repo.replace("marker-*.rpm", make_package("marker", "8", tail="%pre\nexit 1"))
    with pytest.raises(TaskFailed, match="scriptlet in rpm package marker"):
        clinging.prepare(repo)
    assert len(upkeep(place.settings, place.images, place.manager).containers) == 4
