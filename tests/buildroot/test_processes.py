"""Roots and processes: many that need the same one, and such that are killed while they make one."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.buildroot import upkeep
from engine.buildroot.rooted import RootedManager
from engine.core.snapshots import BuildrootReport
from tests.buildroot.builds import SPEC
from tests.buildroot.roots import Place, SmallRepo
from tests.podmanhost import podman

pytestmark = pytest.mark.podman
MakePackage = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def child(place: Place, repo: SmallRepo, task: int, *words: str | Path, **options: Any) -> subprocess.Popen[str]:
    os.makedirs(place.settings.workdir, mode=0o700, exist_ok=True)
    settings = place.settings
    command = [sys.executable, "-m", "tests.buildroot.child", settings.workdir, settings.worker_id]
    command += [settings.adjutant_task_image_default, str(repo.path), str(task), *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, text=True, **options)


def changed(repo: SmallRepo, make_package: MakePackage, version: str) -> SmallRepo:
    repo.replace("marker-*.rpm", make_package("marker", version))
    return repo


def test_ten_processes_make_it_once(place: Place, repo: SmallRepo, make_package: MakePackage) -> None:
    """From nothing, given away to the task that makes it, and as an increment."""
    for decision in ("full", "increment"):
        running = [child(place, repo, task, stdout=subprocess.PIPE) for task in range(1, 11)]
        said = [process.communicate(timeout=300)[0].split() for process in running]
        assert [process.returncode for process in running] == [0] * 10
        assert sorted(words[0] for words in said) == sorted([decision] + ["hit"] * 9)
        assert len({words[1] for words in said}) == 1
        changed(repo, make_package, "2")
    assert place.state.counts() == {"full": 1, "increment": 1, "hit": 18}


@pytest.mark.parametrize("phase", ["resolve", "apply", "archive", "store", "record"])
def test_kill_9_while_a_root_is_made_from_nothing(place: Place, repo: SmallRepo, phase: str) -> None:
    report = _killed(place, repo, phase)
    assert report.decision == "full"


@pytest.mark.parametrize("phase", ["apply", "commit", "record"])
def test_kill_9_while_an_increment_is_made(
    shared: Place, repo: SmallRepo, make_package: MakePackage, phase: str
) -> None:
    shared.prepare(repo).close()
    report = _killed(shared, changed(repo, make_package, "2"), phase)
    assert report.decision == "increment"


@pytest.mark.parametrize("phase", ["apply", "commit", "record"])
def test_kill_9_while_a_root_with_requirements_is_made(
    shared: Place, repo: SmallRepo, make_package: MakePackage, phase: str, tmp_path: Path
) -> None:
    needed = make_package("needed", "1")
    repo.put(needed)
    repo.index()
    (tmp_path / "needs.spec").write_text(SPEC.format(name="needs", head="BuildRequires: needed", body=""))
    command = ["rpmbuild", "-bs", "--quiet", "--nodeps", f"--define=_topdir {tmp_path}", str(tmp_path / "needs.spec")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HOME": str(tmp_path)})
    source = str(next(tmp_path.rglob("*.src.rpm")))
    with shared.prepare(repo):
        pass
    with shared.prepare(repo, source=source) as root:  # the build that finds out what is required
        checksum = "sha256:" + hashlib.sha256(needed.read_bytes()).hexdigest()
        row = {"name": "needed", "epoch": 0, "version": "1", "release": "1", "arch": "noarch", "checksum": checksum}
        assert isinstance(root.manager, RootedManager)
        root.manager.requirements = {"requires": ["needed"], "added": [row]}
        root.succeeded()
        assert root.report is not None
        packages = root.report.packages
    report = _killed(shared, repo, phase, source=source)
    assert (report.decision, report.cached_requirements, report.packages) == ("hit", True, packages + 1)


def _killed(place: Place, repo: SmallRepo, phase: str, source: str | None = None) -> BuildrootReport:
    """Kill the process that makes a root, its podman and its containers; how the next one comes by the root."""
    workdir, worker = Path(place.settings.workdir), place.settings.worker_id
    before = sorted(snapshot.key for snapshot in place.state.snapshots())
    there = workdir / "there"
    there.unlink(missing_ok=True)
    process = child(place, repo, 1, phase, source or "", env={**os.environ, "TMPDIR": str(workdir)})
    try:
        end = time.monotonic() + 120
        while not there.exists() and not _running(worker, phase):
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < end, "it takes too long"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    for pid in workdir.glob("adjutant-podman-*/pid"):  # its service, and what runs in its containers
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        pid.unlink()
    for name in _running(worker, ""):
        podman("kill", name, check=False)
    assert sorted(snapshot.key for snapshot in place.state.snapshots()) == before
    removed = upkeep(place.settings, place.images, place.manager)
    assert removed.jobs == 1
    assert removed.snapshots == ()
    assert place.manager.containers({"io.koji.adjutant.worker_id": worker}) == []
    with place.prepare(repo, source=source) as root:
        assert root.report is not None
        assert int(place.run(root, "rpm -qa | wc -l")) == root.report.packages
        return root.report


def _running(worker: str, part: str) -> list[str]:
    names = podman("ps", "--format", "{{.Names}}", "--filter", f"label=io.koji.adjutant.worker_id={worker}").split()
    return [name for name in names if f"-{part}" in name]
