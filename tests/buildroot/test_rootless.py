"""The same code as a plain user: a root from nothing, found again, and with its build requirements."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.buildroot.builds import SPEC
from tests.buildroot.conftest import GROUP
from tests.buildroot.roots import SmallRepo
from tests.run.test_rootless import User, user

__all__ = ["user"]
pytestmark = pytest.mark.podman


def test_builds_of_a_plain_user(
    user: User,  # noqa: F811 - the fixture
    packages: Path,
    make_package: Callable[..., Path],
    task_image: str,
    tmp_path: Path,
) -> None:
    repo = SmallRepo(user.top / "repo", packages, GROUP)
    for name in ("marker", "needed"):
        repo.put(make_package(name, "1"))
    repo.index()
    spec = tmp_path / "plain.spec"
    body = "%build\ncat /usr/share/needed/text; id -un; rpm -qa | wc -l\n"
    spec.write_text(SPEC.format(name="plain", head="BuildRequires: needed", body=body))
    subprocess.run(
        ["rpmbuild", "-bs", "--quiet", "--nodeps", f"--define=_topdir {tmp_path}", str(spec)],
        check=True,
        capture_output=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    srpm = shutil.copy(next(tmp_path.rglob("*.src.rpm")), user.top)
    # podman 4 cannot commit where storage.conf leaves out the directories it has defaults for.
    graph, run = user.top / "home/.local/share/containers/storage", user.top / "run/containers"
    (user.top / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{graph}"\nrunroot = "{run}"\n')
    archive = user.top / "image.tar"
    subprocess.run(["podman", "save", "--quiet", "--output", archive, task_image], check=True, capture_output=True)
    archive.chmod(0o644)
    loaded = user.run("podman", "load", "--quiet", "--input", archive)
    archive.unlink()
    assert loaded.returncode == 0, loaded.stderr
    command = ["run", "buildArch", srpm, "--repo", repo.path, "--image", task_image, "--results", "built", "--force"]
    seen = []
    for _ in range(3):
        done = user.engine(*command)
        assert done.returncode == 0, done.stderr
        outcome = json.loads((user.top / "home/built/result.json").read_text())
        seen.append((outcome["buildroot"]["decision"], outcome["buildroot"]["cached_requirements"]))
        assert (user.top / "home/built/plain-1-1.noarch.rpm").is_file()
        log = (user.top / "home/built/build.log").read_text()
        assert "\nmockbuild\n" in log
        assert f"\n{outcome['buildroot']['packages'] + (not seen[-1][1])}\n" in log
    assert seen == [("full", False), ("hit", True), ("hit", True)]
    pruned = user.engine("buildroot", "prune", "--all")
    assert "2 snapshots removed" in pruned.stdout, pruned.stderr
    assert user.left() == []
