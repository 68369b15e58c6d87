"""The installing step: every kind of requirement, and what is not the package's fault."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cli.local import worker_id
from engine.core.spec import LABEL_WORKER_ID
from tests.buildroot.builds import Builder
from tests.podmanhost import podman

pytestmark = pytest.mark.podman
MakePackage = Callable[..., Path]


def test_rich_file_and_versioned_requirements(builder: Builder, make_package: MakePackage) -> None:
    versions = [make_package("versions", number) for number in "123"]
    builder.changed(make_package("by-file", "1"), *versions)
    head = """\
BuildRequires: (needed if bash)
BuildRequires: (no-such-thing or needed-too)
BuildRequires: (no-such-thing if no-such-other)
BuildRequires: /usr/share/by-file/text
BuildRequires: versions >= 2, versions < 3"""
    run = builder.build(builder.srpm("kinds", head=head, body="%build\nrpm -q needed needed-too by-file versions\n"))
    assert run.status == 0, run.text
    names = {"needed-1-1.noarch", "needed-too-1-1.noarch", "by-file-1-1.noarch", "versions-2-1.noarch"}
    assert names <= set(run.log().splitlines())
    assert run.log("installed_pkgs.log").count("\n") == run.outcome["buildroot"]["packages"] + 4


@pytest.mark.parametrize(
    ("name", "requirement"),
    [
        ("rich", "(no-such-thing or no-such-other)"),
        ("rich-and", "(needed and no-such-thing)"),
        ("file", "/usr/share/no/such"),
        ("version", "needed > 5"),
    ],
)
def test_requirements_that_cannot_be_met(builder: Builder, name: str, requirement: str) -> None:
    run = builder.build(builder.srpm(f"cannot-{name}", head=f"BuildRequires: {requirement}"))
    assert run.status == 1, run.text
    failure = run.outcome["failure"]
    assert (failure["fault"], failure["step"]) == ("BuildError", "builddep")
    words = "no-such-thing" if name.startswith("rich") else requirement
    assert any(words in line for line in run.log("root.log").splitlines()[1:]), run.log("root.log")


@pytest.mark.parametrize("how", ["corrupt", "gone"])
def test_a_package_that_is_damaged_is_not_the_builds_fault(
    builder: Builder, make_package: MakePackage, how: str
) -> None:
    builder.changed(make_package(how, "1"))
    package = builder.repo.path / f"{how}-1-1.noarch.rpm"
    data = bytearray(package.read_bytes())
    data[-60] ^= 0xFF
    package.unlink()
    if how == "corrupt":
        package.write_bytes(data)
    run = builder.build(builder.srpm(f"wants-{how}", head=f"BuildRequires: {how}"))
    assert run.status == 4, run.text
    failure = run.outcome["failure"]
    assert (failure["fault"], failure["step"]) == ("infrastructure", "builddep")
    assert "see root.log" in failure["message"]
    log = run.log("root.log")
    assert f'Package "{how}-1-1.noarch" from local repository "repo1" has incorrect checksum' in log
    assert ("No such file or directory" in log) == (how == "gone")


def test_a_repo_that_vanishes_before_the_installing_step(builder: Builder) -> None:
    """It is deleted while the source package is made: podman finds nothing to show to the step."""
    srpm = builder.srpm("waits", head="BuildRequires: needed\n%define slow %(sleep 6)\n%slow")
    away = builder.repo.path.with_name("away")

    def vanish() -> None:
        mine = f"label={LABEL_WORKER_ID}={worker_id(str(builder.workdir))}"  # others build beside this
        end = time.monotonic() + 120
        while "-srpm" not in podman("ps", "--format", "{{.Names}}", "--filter", mine) and time.monotonic() < end:
            time.sleep(0.1)
        builder.repo.path.rename(away)

    thread = threading.Thread(target=vanish)
    thread.start()
    try:
        run = builder.build(srpm)
    finally:
        thread.join()
        shutil.rmtree(builder.repo.path, ignore_errors=True)
        away.rename(builder.repo.path)
    assert run.status == 4, run.text
    failure = run.outcome["failure"]
    assert (failure["fault"], failure["step"]) == ("infrastructure", "builddep")
    assert str(builder.repo.path) in failure["message"]
