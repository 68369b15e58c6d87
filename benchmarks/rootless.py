"""The cases of `benchmarks.buildroot` as a plain user: ``pytest -s benchmarks/rootless.py``, as root.

A file of pytest because the plain user is a fixture of the tests: made in a mount namespace of its own. The cases run
in a process of that user, with her own podman storage and her own copy of the repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from benchmarks.buildroot import RUNS, SAMPLES, SHORT, Bench, bench_repo, cases
from benchmarks.measure import table
from engine.adapters.podman import PodmanConfig, PodmanManager
from tests.buildroot.roots import SmallRepo
from tests.podmanhost import podman_host, task_image
from tests.run.test_rootless import User, user
from tools import standin

__all__ = ["podman_host", "task_image", "user"]


def part(folder: str, repo: str, members: str, image: str, *srpms: str) -> None:
    """The cases, in this process."""
    own = SmallRepo.__new__(SmallRepo)  # what root made; its packages are copied, not linked
    own.path, own.source, own.members = Path(folder, "repo"), Path(repo), members.split()
    shutil.copytree(repo, own.path)
    with PodmanManager(PodmanConfig(worker_id=f"bench-{os.getpid()}")) as manager:
        place = Bench(Path(folder), manager, image, own)
        try:
            cases(place, {Path(srpm).parent.name: Path(srpm) for srpm in srpms}, misses=2 if SHORT else RUNS)
        finally:
            place.forget()


def test_builds_of_a_plain_user(user: User, task_image: str) -> None:  # noqa: F811 - fixtures
    repo = bench_repo(user.top / "repo", user.top)
    srpms = []
    for name in SAMPLES[:2] if SHORT else SAMPLES:
        (user.top / name).mkdir()
        srpms.append(shutil.copy(standin.srpm(name), user.top / name))
    graph, run = user.top / "home/.local/share/containers/storage", user.top / "run/containers"
    (user.top / "storage.conf").write_text(f'[storage]\ndriver = "overlay"\ngraphroot = "{graph}"\nrunroot = "{run}"\n')
    archive = user.top / "image.tar"
    subprocess.run(["podman", "save", "--quiet", "--output", archive, task_image], check=True, capture_output=True)
    archive.chmod(0o644)
    loaded = user.run("podman", "load", "--quiet", "--input", archive)
    archive.unlink()
    assert loaded.returncode == 0, loaded.stderr
    load = os.getloadavg()[0]
    table(f"Buildroots ({datetime.now():%Y-%m-%d %H:%M}, {os.cpu_count()} cores, load {load:.1f} before, a plain user)")
    words = [
        sys.executable,
        "-m",
        "benchmarks.rootless",
        user.top / "home",
        repo.path,
        " ".join(repo.members),
        task_image,
    ]
    done = user.run(*words, *srpms, timeout=3000)
    print(done.stdout)
    assert done.returncode == 0, done.stderr


def main() -> None:
    """Run it by pytest."""
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-s", "--timeout=3600", __file__], check=True)


if __name__ == "__main__":
    part(*sys.argv[1:])
