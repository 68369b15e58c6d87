"""Roots of real packages in real podman: found, made as an increment, made from nothing; and never wrong."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve

from engine.buildroot import Prepared, SnapshotLimits, upkeep
from engine.buildroot.images import image_name
from engine.core.facts import BuildrootLimits
from engine.core.snapshots import BuildrootReport
from tests.buildroot.roots import RECIPE, Place, SmallRepo
from tests.podmanhost import podman

pytestmark = pytest.mark.podman
MakePackage = Callable[..., Path]

# Everything of a root but what the container itself puts there.
LISTING = r"""
cd /; find . -xdev \( -path ./proc -o -path ./dev -o -path ./sys -o -path ./run -o -path ./etc/hosts \
  -o -path ./etc/resolv.conf -o -path ./etc/hostname -o -path ./etc/mtab \) -prune -o -printf '%p %m %U:%G %s %l\n' \
  | grep -v '^\. ' | LC_ALL=C sort
find . -xdev -type f \( -path './etc/*' -o -path './var/lib/*' \) ! -path ./etc/hosts ! -path ./etc/resolv.conf \
  ! -path ./etc/hostname -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
"""


def report(root: Prepared) -> BuildrootReport:
    assert root.report is not None
    return root.report


def test_from_miss_to_hit(shared: Place, repo: SmallRepo, make_package: MakePackage) -> None:
    """One life of a repo: first build, same repo, regenerated, one package changed, rebuilt under its name."""
    with shared.prepare(repo) as root:
        first = report(root)
        assert (first.decision, first.resolved, first.changed) == ("full", True, first.packages)
        names = shared.run(root, "rpm -qa --qf '%{NAME}\n' | sort").split()
        assert len(names) == first.packages
        assert {"bash", "marker", "rpm"} <= set(names)
    with shared.prepare(repo) as root:
        assert (report(root).decision, report(root).resolved) == ("hit", False)
        assert report(root).reason == "hit: the repo is known"
    repo.index()  # as every newRepo does: the same packages, other metadata
    (repo.path / "repodata" / "repomd.xml").write_text((repo.path / "repodata" / "repomd.xml").read_text() + "\n")
    with shared.prepare(repo) as root:
        assert (report(root).decision, report(root).resolved) == ("hit", True)
        assert report(root).key == first.key
    repo.replace("marker-*.rpm", make_package("marker", "2", "two"))
    with shared.prepare(repo) as root:
        second = report(root)
        assert (second.decision, second.changed, second.parent) == ("increment", 1, first.key)
        assert second.reason == f"near miss: 1 package changed: marker; from {first.key[:12]}"
        assert shared.run(root, "cat /usr/share/marker/text; rpm -q marker") == "two\nmarker-2-1.noarch\n"
        before = shared.run(root, "rpm -q --qf '%{SIGMD5}' marker")
    repo.put(make_package("marker", "2", "three"))
    repo.index()
    with shared.prepare(repo) as root:
        assert (report(root).decision, report(root).changed) == ("increment", 1)
        assert report(root).key != second.key
        assert shared.run(root, "cat /usr/share/marker/text") == "three\n"
        assert shared.run(root, "rpm -q --qf '%{SIGMD5}' marker") != before


def test_options_and_macros_that_shape_a_root_make_another_one(
    shared: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    # createrepo goes by name, size and time
    repo.replace("marker-*.rpm", make_package("marker", "5", tail="%doc /usr/share/marker/text"))
    with shared.prepare(repo) as root:
        plain = report(root)
        assert shared.run(root, "cat /usr/share/marker/text") == "x\n"
    assert RECIPE.buildroot is not None
    nodocs = evolve(RECIPE, buildroot=evolve(RECIPE.buildroot, options={"tsflags": "nodocs"}))
    with shared.prepare(repo, recipe=nodocs) as root:
        assert report(root).decision == "full"  # no near miss either: every package may lack something
        assert report(root).key != plain.key
        assert shared.run(root, "test ! -e /usr/share/marker/text; rpm -q marker") == "marker-5-1.noarch\n"
    snapshot = shared.state.snapshot(plain.key)
    assert snapshot is not None
    assert any(text.startswith("_dbpath /") for text in snapshot.shape.macros), snapshot.shape


def test_an_increment_equals_a_root_made_from_nothing(
    shared: Place, place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    with shared.prepare(repo):
        pass
    repo.replace("marker-*.rpm", make_package("marker", "4", "four", head="Requires: bc"))
    with shared.prepare(repo) as grown:
        listing = shared.run(grown, LISTING, user=0).splitlines()
    shared.state.forget(report(grown).key)  # so that the other does not take it up
    with place.prepare(repo) as fresh:
        assert (report(grown).decision, report(fresh).decision) == ("increment", "full")
        assert report(grown).key == report(fresh).key
        other = place.run(fresh, LISTING, user=0).splitlines()
        differing = {line.split()[0 if line.startswith(".") else 1] for line in set(listing) ^ set(other)}
        assert all("rpm" in name or name == "./var/lib" for name in differing), differing


def test_ten_tasks_make_it_once(shared: Place, repo: SmallRepo, make_package: MakePackage) -> None:
    with shared.prepare(repo):
        pass
    repo.replace("marker-*.rpm", make_package("marker", "10"))
    reports: list[BuildrootReport] = []

    def task(number: int) -> None:
        with shared.prepare(repo, task_id=number) as root:
            reports.append(report(root))

    threads = [threading.Thread(target=task, args=(number,)) for number in range(1, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item.decision for item in reports) == ["hit"] * 9 + ["increment"]
    assert len({item.key for item in reports}) == 1


def test_a_task_may_build_in_the_root_that_was_made_for_it(place: Place, repo: SmallRepo) -> None:
    with place.prepare(repo, give_away=True) as root:
        assert report(root).storing
        assert root.manager is not place.manager
        # The snapshot was taken before: what the task does to its root is not in it.
        worker = place.settings.worker_id
        anchor = f"adjutant-{worker}-1-root"
        place.run_on(anchor, "echo evil > /etc/passwd; rm -rf /usr/share/marker", user=0)
    assert podman("ps", "--all", "--quiet", "--filter", f"name={anchor}") == ""
    with place.prepare(repo) as again:
        assert report(again).decision == "hit"
        assert place.run(again, "cat /usr/share/marker/text; id -un") == "x\nmockbuild\n"


WRECK = """
set +e
rm -rf /etc /usr/share /var/lib/rpm /usr/lib/sysimage 2>/dev/null; echo x > /bin/bash.new; chmod 777 / /usr
for number in $(seq 300); do echo $number > /tmp/$number; echo $number > /var/tmp/$number; done
(sleep 600 &) ; find / -xdev -type f -path '*rpm*' -exec sh -c 'echo x >> "$1"' sh {} \\; 2>/dev/null; true
"""


def test_a_task_cannot_change_what_the_next_one_sees(shared: Place, repo: SmallRepo) -> None:
    with shared.prepare(repo) as root:
        before = shared.run(root, LISTING, user=0)
        for user in (1000, 0):
            shared.run(root, WRECK, user=user)
            assert shared.run(root, LISTING, user=0) == before


def test_the_rpmdb_can_be_read_by_the_build_user(shared: Place, repo: SmallRepo) -> None:
    with shared.prepare(repo) as root:
        assert int(shared.run(root, "rpm -qa | wc -l")) == report(root).packages
        assert shared.run(root, "ls /dev/null; ls -A /tmp /var/tmp; stat -c %U:%a /builddir/build") == (
            "/dev/null\n/tmp:\n\n/var/tmp:\nmockbuild:755\n"
        )


def test_what_mock_gives_every_root_is_there(shared: Place, repo: SmallRepo) -> None:
    """Of a package's directories in /run as well; D-Bus wants a machine-id."""
    with shared.prepare(repo) as root:
        script = "rpm -qal | grep ^/run/ | xargs ls -d; cat /etc/resolv.conf /etc/fstab; wc -c < /etc/machine-id"
        assert shared.run(root, script) == "/run/lock\n33\n"
        assert shared.run(root, "cmp /var/lib/dbus/machine-id /etc/machine-id") == ""
        assert shared.run(root, "readlink /etc/mtab") == "../proc/self/mounts\n"


def test_what_a_task_relies_on_is_not_pruned(shared: Place, repo: SmallRepo) -> None:
    tight = SnapshotLimits(count=0)
    with shared.prepare(repo) as root:
        key = report(root).key
        removed = upkeep(shared.settings, shared.images, shared.manager, limits=tight)
        assert key not in removed.snapshots
        assert shared.run(root, "echo there") == "there\n"
    assert key in upkeep(shared.settings, shared.images, shared.manager, limits=tight).snapshots
    assert shared.images.find(image_name(key)) is None
    assert shared.state.snapshot(key) is None


def test_the_settings_bound_what_is_kept(place: Place, repo: SmallRepo) -> None:
    with place.prepare(repo) as root:
        key = report(root).key
    assert upkeep(place.settings, place.images, place.manager).snapshots == ()
    tight = evolve(place.settings, buildroots=BuildrootLimits(disk="1m"))
    assert upkeep(tight, place.images, place.manager).snapshots == (key,)


def test_no_chains_where_the_settings_say_so(place: Place, repo: SmallRepo, make_package: MakePackage) -> None:
    place = evolve(place, settings=evolve(place.settings, buildroots=BuildrootLimits(chain=0)))
    place.prepare(repo).close()
    repo.replace("marker-*.rpm", make_package("marker", "2"))
    with place.prepare(repo) as root:
        assert report(root).decision == "full"
        assert "chains of 0" in report(root).reason


def test_another_work_directory_takes_up_what_is_there(shared: Place, place: Place, repo: SmallRepo) -> None:
    """Same user, same storage: the snapshot is used, and left to the one who made it."""
    with shared.prepare(repo) as root:
        key = report(root).key
    with place.prepare(repo) as root:
        assert (report(root).decision, report(root).resolved, report(root).key) == ("hit", True, key)
        assert place.run(root, "cat /usr/share/marker/text") == "x\n"
    upkeep(place.settings, place.images, place.manager, everything=True)
    assert place.state.snapshots() == []
    assert shared.images.find(image_name(key)) is not None


def test_the_same_content_stored_by_another_work_directory_meanwhile(
    shared: Place, place: Place, repo: SmallRepo
) -> None:
    """The name goes to the other's image after the task was given ours: it is the same root."""
    with shared.prepare(repo):
        pass
    with shared.prepare(repo) as root:
        key = report(root).key
        record = shared.state.snapshot(key)
        assert record is not None
        shared.state.forget(key)  # so that the other does not take it up
        with place.prepare(repo) as other:
            assert report(other).key == key
        shared.state.record(record)
        image = place.images.find(image_name(key))
        assert image is not None
        assert image.id != record.image
        assert root.manager.ensure_image_available(image_name(key)).id == image.id
        assert shared.run(root, "cat /usr/share/marker/text") == "x\n"


def test_images_of_others_are_never_touched(place: Place, task_image: str) -> None:
    name = f"localhost/adjutant-root:somebody-elses-{os.getpid()}"
    podman("tag", task_image, name)
    try:
        upkeep(place.settings, place.images, place.manager, everything=True)
        assert podman("images", "--quiet", name) != ""
    finally:
        podman("rmi", name)
