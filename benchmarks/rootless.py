"""The same builds by root and by a plain user, one after the other: ``pytest -s benchmarks/rootless.py``.

A file of pytest because the plain user is a fixture of the tests: made in a mount namespace of its own, as root.
Each part is a process of its own that prints the measured seconds as JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from datetime import datetime
from pathlib import Path

from benchmarks.buildroot import BOTH, ONE_LEVEL, RUNS, Bench
from benchmarks.measure import Times, row, table
from engine.adapters.podman import PodmanConfig, PodmanManager
from tests.buildroot.roots import SmallRepo
from tests.podmanhost import podman_host, task_image
from tests.run.test_rootless import User, user
from tools import standin

__all__ = ["podman_host", "task_image", "user"]
GOALS = {"hit": "overhead ≤ 0.8 s", "hit, requirements there": "overhead ≤ 0.4 s"}


def part(folder: str, repo: str, image: str, srpm: str) -> None:
    """Seconds of builds of one source package: ``{"hit": [[whole, overhead], …], …, "miss": seconds}``."""
    with PodmanManager(PodmanConfig(worker_id=f"bench-{os.getpid()}")) as manager:
        place = Bench(Path(folder), manager, image, SmallRepo.__new__(SmallRepo))
        place.repo.path = Path(repo)
        first = place.job(Path(srpm), BOTH)  # makes the root, notes the requirements
        found = {"hit": [place.job(Path(srpm), ONE_LEVEL) for _ in range(RUNS)]}
        place.job(Path(srpm), BOTH)
        found["hit, requirements there"] = [place.job(Path(srpm), BOTH) for _ in range(RUNS)]
        assert all(job.report and job.report.decision == "hit" for jobs in found.values() for job in jobs)
        assert all(job.report and job.report.cached_requirements for job in found["hit, requirements there"])
    numbers: dict[str, object] = {name: [[job.whole, job.overhead] for job in jobs] for name, jobs in found.items()}
    print(json.dumps({**numbers, "miss": first.ready if first.report and first.report.decision == "full" else None}))


def forget(folder: str, image: str) -> None:
    """Remove the roots that were made."""
    with PodmanManager(PodmanConfig(worker_id=f"bench-{os.getpid()}")) as manager:
        Bench(Path(folder), manager, image, SmallRepo.__new__(SmallRepo)).forget()


def test_rootless_beside_rootful(user: User, task_image: str, tmp_path: Path) -> None:  # noqa: F811 - fixtures
    world = standin.world_repo()
    comps = ElementTree.parse(next((world / "repodata").glob("*comps.xml")))
    group = next(found for found in comps.iter("group") if found.findtext("id") == "build")
    repo = SmallRepo(user.top / "repo", world, [found.text or "" for found in group.iter("packagereq")])
    repo.members.remove("marker")
    repo.index()
    samples = {name: shutil.copy(standin.srpm(name), user.top) for name in ("hello-noarch", "hz")}
    graph, run = user.top / "home/.local/share/containers/storage", user.top / "run/containers"
    (user.top / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{graph}"\nrunroot = "{run}"\n')
    archive = user.top / "image.tar"
    subprocess.run(["podman", "save", "--quiet", "--output", archive, task_image], check=True, capture_output=True)
    archive.chmod(0o644)
    loaded = user.run("podman", "load", "--quiet", "--input", archive)
    archive.unlink()
    assert loaded.returncode == 0, loaded.stderr
    table(f"Builds of root and of a plain user ({datetime.now():%Y-%m-%d %H:%M}, {os.cpu_count()} cores)")
    own = ["-m", "benchmarks.rootless"]
    folders = {"rootful": tmp_path, "rootless": user.top / "home"}
    try:
        for name, srpm in samples.items():
            for who, folder in folders.items():
                load = os.getloadavg()[0]
                words = [sys.executable, *own, folder, repo.path, task_image, srpm]
                done = user.run(*words) if who == "rootless" else _by_root(words)
                assert done.returncode == 0, done.stderr
                measured = json.loads(done.stdout.splitlines()[-1])
                if measured["miss"] is not None:
                    row(f"full miss, {who}: ready to build", f"{measured['miss']:.1f} s (n=1), load {load:.1f}")
                for case, goal in GOALS.items():
                    whole, overhead = (Times(tuple(column)) for column in zip(*measured[case], strict=True))
                    row(f"{name}, {who}: {case}", f"whole {whole}, overhead {overhead}, load {load:.1f} before", goal)
    finally:
        _by_root([sys.executable, *own, tmp_path, task_image])
        user.run(sys.executable, *own, user.top / "home", task_image)


def _by_root(words: list[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, timeout=200)


def main() -> None:
    """Run it by pytest."""
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-s", __file__], check=True)


if __name__ == "__main__":
    part(*sys.argv[1:]) if len(sys.argv) == 5 else forget(*sys.argv[1:])
