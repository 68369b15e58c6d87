"""What the tests about roots share: a small repository, and preparing a root from it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from engine.adapters.podman import PodmanManager
from engine.buildroot import Prepared, SnapshotImages, prepare
from engine.buildroot.state import State
from engine.core.facts import Facts, PackageRepo, Settings, TaskRequest
from engine.core.recipe import Buildroot, Input, Param, Recipe, Step
from engine.core.spec import AnchorSpec, ContainerSpec

COMPS = """\
<?xml version="1.0" encoding="UTF-8"?>
<comps><group><id>build</id><name>build</name><description>b</description><default>false</default>
<uservisible>true</uservisible><packagelist>{members}</packagelist></group></comps>
"""


class SmallRepo:
    """A repository directory with hard links to `source`'s packages; the group `build` has `members`."""

    def __init__(self, path: Path, source: Path, members: Sequence[str]) -> None:
        self.path, self.source, self.members = path, source, [*members, "marker"]
        path.mkdir()
        for package in source.glob("*.rpm"):
            try:
                os.link(package, path / package.name)
            except OSError:
                shutil.copy(package, path)

    def put(self, package: Path) -> Path:
        """Add a package, or replace the one of that file name."""
        target = self.path / package.name
        target.unlink(missing_ok=True)
        shutil.copy(package, target)
        return target

    def remove(self, pattern: str) -> None:
        for package in self.path.glob(pattern):
            package.unlink()

    def replace(self, pattern: str, *packages: Path) -> None:
        """Other packages in the place of those that match, and the metadata of it."""
        self.remove(pattern)
        for package in packages:
            self.put(package)
        self.index()

    def index(self) -> None:
        """Write the metadata, as createrepo does when a repo is regenerated."""
        members = "".join(f'<packagereq type="mandatory">{name}</packagereq>' for name in self.members)
        (self.path / "comps.xml").write_text(COMPS.format(members=members))
        command = ["createrepo_c", "--quiet", "--update", "--groupfile", "comps.xml"]
        if not (self.path / "repodata").exists():
            command += ["--skip-stat", "--update-md-path", str(self.source)]
        subprocess.run([*command, str(self.path)], check=True, capture_output=True)


RECIPE = Recipe(
    recipe=1,
    method="toy",
    params=(Param(name="arch", type="arch"),),
    inputs=(Input(name="source", source="{{ params.arch }}/x", when="false"),),
    buildroot=Buildroot(mode="repo", arch="{{ params.arch }}"),
    steps=(Step(name="nothing", argv=("true",), root="buildroot"),),
)


@frozen(kw_only=True)
class Place:
    """Where roots are prepared: settings, manager and images of one work directory."""

    settings: Settings
    manager: PodmanManager
    images: SnapshotImages

    @property
    def state(self) -> State:
        return State(self.settings.workdir)

    def facts(self, repo: Path, task_id: int = 1) -> tuple[TaskRequest, Facts]:
        request = TaskRequest(method="toy", params={"arch": "x86_64"}, task_id=task_id)
        return request, Facts(settings=self.settings, repos=(PackageRepo(name="build", path=str(repo)),))

    def prepare(
        self, repo: SmallRepo | Path, *, recipe: Recipe = RECIPE, task_id: int = 1, **keywords: Any
    ) -> Prepared:
        """The root for a task; made and stored before this returns, unless give_away is said."""
        path = repo if isinstance(repo, Path) else repo.path
        request, facts = self.facts(path, task_id)
        keywords.setdefault("give_away", False)
        return prepare(recipe, request, facts, self.manager, self.images, **keywords)

    def run(self, root: Prepared, script: str, *, user: int = 1000, name: str = "t") -> str:
        """Output of a shell script on a fresh clone of the root; an error is an AssertionError."""
        worker = self.settings.worker_id
        assert root.facts.buildroot is not None
        labels = {"io.koji.adjutant.worker_id": worker}
        anchor = AnchorSpec(name=f"adjutant-{worker}-{name}-root", image=root.facts.buildroot.image, labels=labels)
        handle = root.manager.create_anchor(anchor)
        try:
            return self.run_on(anchor.name, script, user=user)
        finally:
            self.manager.remove(handle)

    def run_on(self, anchor: str, script: str, *, user: int = 1000) -> str:
        spec = ContainerSpec(
            name=f"{anchor}-step",
            image="",
            root=anchor,
            argv=("/bin/bash", "-eo", "pipefail", "-c", script),
            user_id=user,
            group_id=user,
            network_disabled=True,
            capabilities=("CHOWN", "DAC_OVERRIDE", "FOWNER") if user == 0 else (),
            labels={"io.koji.adjutant.worker_id": self.settings.worker_id},
        )
        output = bytearray()
        outcome = self.manager.run(spec, log=output.extend)
        assert outcome.ok, output.decode()
        return output.decode()


def with_group(name: str) -> Recipe:
    """The toy recipe with another group."""
    assert RECIPE.buildroot is not None
    return evolve(RECIPE, buildroot=evolve(RECIPE.buildroot, group=name))
