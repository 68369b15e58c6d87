"""Fixtures: real podman, and repositories of a few packages that tests may change."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.podman import PodmanManager
from engine.buildroot import PodmanSnapshotImages, upkeep
from engine.core.facts import Settings
from tests.buildroot.builds import Builder
from tests.buildroot.roots import Place, SmallRepo
from tests.podmanhost import manager, podman_host, task_image
from tools import standin

__all__ = ["manager", "podman_host", "task_image"]

GROUP = (
    "bash", "coreutils", "diffutils", "file", "findutils", "grep", "gzip", "rpm", "sed", "standin-rpm-config", "tar",
)  # fmt: skip
SPEC = """\
Name: {name}
Version: {version}
Release: 1
Summary: A package of a test
License: MIT
BuildArch: noarch
{head}
%description
A package of a test.
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo {text} > %{{buildroot}}/usr/share/{name}/text
%files
/usr/share/{name}
{tail}
"""


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with all packages of the world, to take them from."""
    try:
        yield standin.world_repo()
    except standin.NotSetUp as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def make_package(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Build a small noarch package: name, version, text in it, lines for the spec's head and tail."""

    def make(name: str, version: str, text: str = "x", head: str = "", tail: str = "") -> Path:
        folder = tmp_path_factory.mktemp(name)
        spec = folder / f"{name}.spec"
        spec.write_text(SPEC.format(name=name, version=version, text=text, head=head, tail=tail))
        command = ["rpmbuild", "-bb", "--quiet", "--nodeps", f"--define=_topdir {folder}", str(spec)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HOME": str(folder)})
        return next(folder.rglob("*.noarch.rpm"))

    return make


@pytest.fixture
def repo(tmp_path: Path, packages: Path, make_package: object) -> SmallRepo:
    """A repository of the world's packages with the small group `build`, and `marker-1` in the group."""
    made = SmallRepo(tmp_path / "repo", packages, GROUP)
    made.put(make_package("marker", "1"))  # type: ignore[operator]
    made.index()
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, manager: PodmanManager, task_image: str) -> Iterator[Place]:
    """A work directory whose snapshots the tests of a module share; all of them are removed at the end."""
    yield from _place(tmp_path_factory.mktemp("work"), manager, task_image)


@pytest.fixture
def place(tmp_path: Path, manager: PodmanManager, task_image: str) -> Iterator[Place]:
    """A work directory without snapshots; what the test makes is removed at its end."""
    yield from _place(tmp_path / "work", manager, task_image)


def _place(folder: Path, manager: PodmanManager, image: str) -> Iterator[Place]:
    settings = Settings(workdir=str(folder), worker_id=manager.config.worker_id, adjutant_task_image_default=image)
    images = PodmanSnapshotImages(manager.service)
    yield Place(settings=settings, manager=manager, images=images)
    upkeep(settings, images, manager, everything=True)
    left = [item for item in images.ours() if str(folder) in item.labels.get("io.koji.adjutant.buildroot.state", "")]
    assert [item.names for item in left if item.labels["io.koji.adjutant.buildroot"] != "empty"] == []


@pytest.fixture(scope="module")
def builder(
    tmp_path_factory: pytest.TempPathFactory, packages: Path, make_package: object, task_image: str
) -> Iterator[Builder]:
    folder = tmp_path_factory.mktemp("builds")
    repo = SmallRepo(folder / "repo", packages, (*GROUP, "gawk"))
    repo.put(make_package("marker", "1"))  # type: ignore[operator]
    repo.put(make_package("needed", "1"))  # type: ignore[operator]
    repo.put(make_package("needed-too", "1"))  # type: ignore[operator]
    repo.put(make_package("refuses", "1", tail="%pre\nexit 1"))  # type: ignore[operator]
    repo.put(make_package("complains", "1", tail="%post\nexit 1"))  # type: ignore[operator]
    repo.index()
    made = Builder(folder / "work", repo, task_image, folder)
    warm = made.engine("buildroot", "warm", "buildArch", "--repo", repo.path)
    assert warm.returncode == 0, warm.stderr
    yield made
    assert made.engine("buildroot", "prune", "--all").returncode == 0
