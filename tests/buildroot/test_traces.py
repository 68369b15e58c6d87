"""Increments leave nothing behind that a root made from nothing would not have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.core.snapshots import BuildrootReport
from tests.buildroot.roots import Place, SmallRepo

pytestmark = pytest.mark.podman
MakePackage = Callable[..., Path]

LEAVES = """\
%post
echo left > /etc/left-by-extra
echo 'extra:x:77:77::/:/bin/sh' >> /etc/passwd
"""


def prepared(place: Place, repo: SmallRepo, *packages: Path, script: str = "true") -> tuple[BuildrootReport, str]:
    """How the root came about after `marker` was replaced by `packages`, and what a script says in it."""
    repo.replace("marker-*.rpm", *packages)
    with place.prepare(repo) as root:
        assert root.report is not None
        return root.report, place.run(root, script)


def test_what_a_removed_packages_script_did_does_not_stay(
    place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    look = "exec 2> /dev/null; set +e; rpm -q extra plain; ls /etc/left-by-extra; grep extra /etc/passwd; true"
    extra, plain = make_package("extra", "1", tail=LEAVES), make_package("plain", "1")
    both = make_package("marker", "1", head="Requires: extra plain")
    first, said = prepared(place, repo, both, extra, plain, script=look)
    assert "/etc/left-by-extra" in said
    assert "extra:x:77" in said
    snapshot = place.state.snapshot(first.key)
    assert snapshot is not None
    assert "extra" in snapshot.lasting
    assert not {"plain", "marker", "bash"} & set(snapshot.lasting)
    # Without `plain` it is an increment as ever; without `extra` it must not be one.
    report, said = prepared(place, repo, make_package("marker", "2", head="Requires: extra"), script=look)
    assert (report.decision, report.parent) == ("increment", first.key)
    assert "extra:x:77" in said
    report, said = prepared(place, repo, make_package("marker", "3"), script=look)
    assert report.decision == "full"
    assert report.reason.startswith("miss: 1 package changed: marker; 1 removed: extra; not from ")
    assert report.reason.endswith(": what scripts or triggers did for extra would stay")
    assert said.split("\n") == ["package extra is not installed", "package plain is not installed", ""]


def test_a_package_is_replaced_where_its_scripts_are_the_same(
    place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    same = "%post -p /usr/bin/true\n%posttrans\necho done >> /var/lib/done\n"
    prepared(place, repo, make_package("marker", "1", tail=same))
    report, said = prepared(place, repo, make_package("marker", "2", "two", tail=same), script="rpm -q marker")
    assert (report.decision, said) == ("increment", "marker-2-1.noarch\n")
    other = make_package("marker", "3", tail="%posttrans\ntouch /etc/another-one\n")
    report, said = prepared(
        place,
        repo,
        other,
        script="set +e; exec 2> /dev/null; rpm -q marker; ls /var/lib/done; ls /etc/another-one; true",
    )
    assert report.decision == "full"
    assert "1 package changed: marker; not from " in report.reason
    assert report.reason.endswith("what the old scripts did would stay, the new ones are others: marker")
    assert said.split() == ["marker-3-1.noarch", "/etc/another-one"]


def test_configuration_that_a_script_changed_is_not_kept(
    place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    """An update puts the new file beside the changed one; a root made from nothing has no such file."""
    config = "%config(noreplace) /usr/share/marker/text"
    changed = make_package("changed", "1", tail="%posttrans\necho changed > /usr/share/marker/text\n")
    marker = make_package("marker", "2", "two", head="Requires: changed", tail=config)
    _, said = prepared(place, repo, changed, marker, script="cat /usr/share/marker/text; rpm -qc marker")
    assert said == "changed\n/usr/share/marker/text\n"
    marker = make_package("marker", "3", "three", head="Requires: changed", tail=config)
    report, said = prepared(place, repo, marker, script="cat /usr/share/marker/text; ls /usr/share/marker")
    assert report.decision == "full", report.reason
    assert report.reason.endswith(": the update left /usr/share/marker/text.rpmnew")
    assert "text.rpmnew" not in said


def test_triggers_and_users_mark_a_package_that_may_not_be_removed(
    place: Place, repo: SmallRepo, make_package: MakePackage
) -> None:
    packages = [
        make_package("named", "1"),
        make_package("covered", "1"),
        make_package("person", "1", head="Provides: user(person)"),
        make_package("script", "1", tail="%preun -p /usr/bin/true\n"),
        make_package(
            "watcher", "1", tail="%triggerin -- named\ntrue\n%transfiletriggerin -- /usr/share/covered\ntrue\n"
        ),
        make_package("marker", "1", head="Requires: named covered person script watcher"),
    ]
    report, _ = prepared(place, repo, *packages)
    snapshot = place.state.snapshot(report.key)
    assert snapshot is not None
    ours = {package.name.rpartition("-1-")[0] for package in packages}
    assert ours & set(snapshot.lasting) == {"named", "covered", "person", "script", "watcher"}
