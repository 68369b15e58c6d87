"""Roots and whole builds: hit, repeat, new repo, changed packages, miss; overhead is what is not rpmbuild.

Each job is what a worker does for a task, in one process with a running podman service: prepare, render, run, clean
up. `overhead` is its wall time without rpmbuild (-bs and -bb, from state.log). KOJI_ADJUTANT_BENCH=short leaves the
autotools sample out. The same cases for a plain user: `benchmarks/rootless.py`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from attrs import define, field

from benchmarks.measure import Times, row, table
from engine.adapters.inputs import LocalFiles
from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.adapters.recipes import read_recipe
from engine.adapters.workspace import Workdir
from engine.buildroot import PodmanSnapshotImages, SnapshotLimits, prepare, upkeep
from engine.cli.local import this_host
from engine.core.closing import RecipeClosing
from engine.core.facts import PackageRepo, Settings
from engine.core.local import LocalCall, local_task
from engine.core.outcome import TaskOutcome
from engine.core.render import closing_variables, render
from engine.core.snapshots import BuildrootReport
from engine.runner import run_task
from tests.buildroot.conftest import SPEC
from tests.buildroot.roots import SmallRepo
from tools import cache, standin

RECIPE = Path(__file__).parents[1] / "recipes" / "buildArch.toml"
SHORT = os.environ.get("KOJI_ADJUTANT_BENCH") == "short"
RUNS = 5
SAMPLES = ("hello-noarch", "hz", "grove")
EXTRA = tuple(f"bench{number}" for number in range(5))
ONE_LEVEL, BOTH = SnapshotLimits(repeats_after=0), SnapshotLimits()


@define
class Job:
    """One build: seconds of the whole, of rpmbuild within, of the root; and what was said of the root."""

    whole: float = 0.0
    rpmbuild: float = 0.0
    ready: float = 0.0
    report: BuildrootReport | None = None

    @property
    def overhead(self) -> float:
        return self.whole - self.rpmbuild

    def deliver(self, outcome: TaskOutcome, workspace: str) -> None:
        if outcome.failure is not None:
            raise RuntimeError(outcome.failure.message)
        times: dict[str, float] = {}
        for line in (Path(workspace) / "result" / "state.log").read_text().splitlines():
            stamp, _, phase = line.partition(" - ")
            seconds = datetime.strptime(stamp, "%Y-%m-%d %H:%M:%S,%f").timestamp()
            word, _, name = phase.partition(": ")
            if word == "Start":
                times[name] = seconds
            else:
                self.rpmbuild += seconds - times[name]


@define
class Bench:
    """A work directory, a repository that may be changed, and podman."""

    folder: Path
    manager: PodmanManager
    image: str
    repo: SmallRepo
    settings: Settings = field(init=False)
    version: int = 1

    def __attrs_post_init__(self) -> None:
        self.settings = Settings(
            workdir=str(self.folder / "work"), worker_id=f"bench-{os.getpid()}", adjutant_task_image_default=self.image
        )

    def job(self, srpm: Path, limits: SnapshotLimits) -> Job:
        recipe, job, where = read_recipe(RECIPE), Job(), str(RECIPE)
        begin = time.perf_counter()
        directory = Workdir(self.settings.workdir).claim()
        repos = (PackageRepo(name="build", path=str(self.repo.path)),)
        call = LocalCall(method="buildArch", inputs=(str(srpm),), repos=repos)
        request, facts = local_task(recipe, call, settings=self.settings, host=this_host(), task_id=directory.task_id)
        images = PodmanSnapshotImages(self.manager.service)
        with prepare(recipe, request, facts, self.manager, images, limits=limits) as root:
            job.ready = time.perf_counter() - begin
            outcome = run_task(
                render(recipe, request, root.facts, where=where),
                manager=root.manager,
                workspace=directory,
                source=LocalFiles(),
                closing=RecipeClosing(recipe, closing_variables(recipe, request, root.facts), where),
                delivery=job,
            )
            assert outcome.failure is None
            root.succeeded()
            job.whole, job.report = time.perf_counter() - begin, root.report
        return job

    def change(self, count: int) -> None:
        """New builds of `count` packages of the group, and the repo regenerated."""
        self.version += 1
        for name in EXTRA[:count]:
            self.repo.remove(f"{name}-*.rpm")
            self.repo.put(package(self.folder, name, str(self.version)))
        self.repo.index()

    def regenerate(self) -> None:
        """Another repo with the same packages: its repomd.xml differs."""
        repomd = self.repo.path / "repodata" / "repomd.xml"
        repomd.write_text(repomd.read_text() + "\n")

    def forget(self) -> None:
        images = PodmanSnapshotImages(self.manager.service)
        upkeep(self.settings, images, self.manager, everything=True)


def package(folder: Path, name: str, version: str) -> Path:
    top = folder / "packages" / f"{name}-{version}"
    top.mkdir(parents=True)
    (top / "x.spec").write_text(SPEC.format(name=name, version=version, text=version, head="", tail=""))
    command = ["rpmbuild", "-bb", "--quiet", "--nodeps", f"--define=_topdir {top}", str(top / "x.spec")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HOME": str(top)})
    return next(top.rglob("*.noarch.rpm"))


def bench_repo(path: Path, folder: Path) -> SmallRepo:
    """The stand-in's repository with its group `build` and the packages that `change` replaces, made in `folder`."""
    world = standin.world_repo()
    comps = ElementTree.parse(next((world / "repodata").glob("*comps.xml")))
    group = next(found for found in comps.iter("group") if found.findtext("id") == "build")
    repo = SmallRepo(path, world, [*(found.text or "" for found in group.iter("packagereq")), *EXTRA])
    repo.members.remove("marker")
    for name in EXTRA:
        repo.put(package(folder, name, "1"))
    repo.index()
    return repo


@contextmanager
def bench() -> Iterator[Bench]:
    conf = standin.containers_conf()
    if conf is not None:
        os.environ["CONTAINERS_CONF"] = str(conf)
    folder = Path(tempfile.mkdtemp(prefix="adjutant-bench-", dir=cache.cache_dir()))
    try:
        repo = bench_repo(folder / "repo", folder)
        with PodmanManager(PodmanConfig(worker_id=f"bench-{os.getpid()}")) as manager:
            made = Bench(folder, manager, standin.task_image(), repo)
            try:
                yield made
            finally:
                made.forget()
    finally:
        shutil.rmtree(folder)


def told(name: str, jobs: list[Job], goal: str = "") -> None:
    whole, overhead = (Times(tuple(getattr(job, key) for job in jobs)) for key in ("whole", "overhead"))
    row(name, f"whole {whole}, overhead {overhead}", goal)


def main() -> None:
    with bench() as place:
        load = os.getloadavg()[0]
        table(f"Buildroots ({datetime.now():%Y-%m-%d %H:%M}, {os.cpu_count()} cores, load {load:.1f} before, rootful)")
        cases(place, {name: standin.srpm(name) for name in SAMPLES if not (SHORT and name == "grove")})


def cases(place: Bench, samples: Mapping[str, Path], misses: int = RUNS) -> None:
    """Measure every case and print its row."""
    tiny = samples["hello-noarch"]
    missed = []
    for _ in range(misses):
        place.forget()
        missed.append(place.job(tiny, ONE_LEVEL))
    assert all(job.report and job.report.decision == "full" for job in missed)
    row("full miss: ready to build", Times(tuple(job.ready for job in missed)), "≤ 15 s")
    for name, srpm in samples.items():
        place.job(srpm, BOTH)  # notes the requirements
        goal = ("whole ≤ 1.0 s, " if srpm == tiny else "") + "overhead ≤ 0.8 s"
        told(f"{name}: hit", [place.job(srpm, ONE_LEVEL) for _ in range(RUNS)], goal)
        place.job(srpm, BOTH)
        told(f"{name}: hit, requirements there", [place.job(srpm, BOTH) for _ in range(RUNS)], "overhead ≤ 0.4 s")
    told("tiny: hit", [place.job(tiny, ONE_LEVEL) for _ in range(RUNS)], "again, for the next three")
    told("tiny: new repo, same packages", _each(place, place.regenerate, tiny, "hit"), "hit + 0.5 s")
    told("tiny: 1 package changed", _each(place, lambda: place.change(1), tiny, "increment"), "hit + 1.5 s")
    told("tiny: 5 packages changed", _each(place, lambda: place.change(5), tiny, "increment"), "hit + 1.5 s")
    for count in (1, 2, 4):
        row(f"hz, {count} at once, hit: all done", _at_once(place, samples["hz"], count))
    _disk(place)
    row("load at the end", f"{os.getloadavg()[0]:.1f}")


def _each(place: Bench, before: object, srpm: Path, decision: str) -> list[Job]:
    jobs = []
    for _ in range(RUNS):
        before()  # type: ignore[operator]
        jobs.append(place.job(srpm, ONE_LEVEL))
        assert jobs[-1].report is not None
        assert jobs[-1].report.decision == decision, jobs[-1].report
    return jobs


def _at_once(place: Bench, srpm: Path, count: int) -> Times:
    seconds = []
    for _ in range(RUNS):
        threads = [threading.Thread(target=place.job, args=(srpm, ONE_LEVEL)) for _ in range(count)]
        begin = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds.append(time.perf_counter() - begin)
    return Times(tuple(seconds))


def _disk(place: Bench) -> None:
    from engine.buildroot.state import State

    full = [item for item in State(place.settings.workdir).snapshots() if not item.parent]
    layers = [item for item in State(place.settings.workdir).snapshots() if item.parent]
    row("disk: full snapshot / one more layer", f"{full[0].own / 1024**2:.0f} MiB / "
        f"{max(item.own for item in layers) / 1024**2:.0f} MiB at most")  # fmt: skip


if __name__ == "__main__":
    main()
