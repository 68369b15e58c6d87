"""Build source packages by mock and here, from one repository, and tell every difference.

    python -m tools.compare_mock [--repo DIR] [--keep DIR] [SRPM ...]

Without SRPM: the samples in `SAMPLES`. Both sides get the same tag macros and environment, among them the
SOURCE_DATE_EPOCH, so that even times in packages must be equal. Compared are the packages, bit for bit and, where they
differ, tag by tag; the list of packages in the root; and each line that the build printed as "@TOPIC ...", as the
sample `surroundings` does.

A difference is one line, "- TOPIC ..." of mock or "+ TOPIC ..." of ours. Those that are meant stand in
mock_differences.toml with their reason, the table of docs/buildroots.md is made from it. Exit status: 0 no other
difference, 1 some, 2 could not compare.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.adapters.recipes import RecipeDirectory
from engine.adapters.results_dir import ResultsDirectory
from engine.adapters.workspace import Workdir
from engine.buildroot import PodmanSnapshotImages, upkeep
from engine.cli.local import FetchedTask, LocalRuns, this_host, worker_id
from engine.cli.progress import make_progress
from engine.core.errors import EngineError
from engine.core.facts import NameValue, PackageRepo, Settings, TagFacts
from engine.core.local import LocalCall, local_task
from tools import samples, standin
from tools.miniworld.commands import CommandError, run
from tools.mock import NoMock, mock

ROOT = Path(__file__).parents[1]
SAMPLES = ("hello-noarch", "hz", "grove", "asks-later", "surroundings")
MACROS = {"clamp_mtime_to_source_date_epoch": "1", "use_source_date_epoch_as_buildtime": "1", "of_the_tag": "%{name} x"}
ENV = {"SOURCE_DATE_EPOCH": str(samples.EPOCH_SECONDS), "OF_THE_TAG": "a b"}


@frozen(kw_only=True)
class Known:
    """A difference that is meant: in words for the table of the documentation, and the lines that it explains."""

    here: str
    mock: str
    why: str
    lines: tuple[str, ...] = ()

    def explains(self, line: str) -> bool:
        return any(re.fullmatch(pattern, line) for pattern in self.lines)


def known() -> tuple[Known, ...]:
    """What mock_differences.toml says; `lines` are regular expressions for whole lines."""
    rows = tomllib.loads(Path(__file__).with_name("mock_differences.toml").read_text(encoding="utf-8"))["difference"]
    return tuple(Known(**{**row, "lines": tuple(row.get("lines", ()))}) for row in rows)


def differences(by_mock: Path, here: Path) -> list[str]:
    """Lines that only one of two result directories gives rise to."""
    ours, theirs = Counter(_described(here)), Counter(_described(by_mock))
    lines = [f"- {line}" for line in (theirs - ours).elements()] + [f"+ {line}" for line in (ours - theirs).elements()]
    return sorted(lines, key=lambda line: (line[2:].split()[0], line))


def _described(results: Path) -> Iterator[str]:
    for package in sorted(results.glob("*.rpm")):
        yield f"package {package.name} {run(['sha256sum', package]).split()[0]}"
        yield from _tags(package)
    for line in (results / "installed_pkgs.log").read_text().splitlines():
        yield "root " + " ".join(line.split()[:3])  # name, build time, size; the rest is our own
    for line in (results / "build.log").read_text(errors="replace").splitlines():
        if line.startswith("@"):
            yield line[1:].rstrip()


def _tags(package: Path) -> Iterator[str]:
    """Every value of the header: names, requires, provides, scripts, file lists, digests, times."""
    header = ElementTree.fromstring(run(["rpm", "-qp", "--nosignature", "--xml", package]))
    for tag in header.iter("rpmTag"):
        for index, value in enumerate(tag):
            yield f"tag {package.name} {tag.get('name')}[{index}] {' '.join((value.text or '').split())}"


def compare(
    srpms: Sequence[Path], repo: Path, folder: Path, *, extra: Mapping[str, Any] | None = None
) -> dict[str, list[str]]:
    """Differences by source package; results stay below `folder`. CommandError, EngineError, NoMock, NotSetUp.

    `extra` is what the tag says besides its macros and environment.
    """
    workdir, found = str(folder / "work"), {}
    image = standin.task_image()
    settings = Settings(workdir=workdir, worker_id=worker_id(workdir), adjutant_task_image_default=image)
    with mock(repo, this_host().arch, macros=MACROS, env=ENV, extra=extra) as there, local_runs(settings) as runs:
        for srpm in srpms:
            by_mock, here = (folder / side / srpm.name.removesuffix(".src.rpm") for side in ("mock", "here"))
            shutil.copytree(there.build(srpm), by_mock)
            build_here(runs, srpm, repo, here, extra=extra)
            found[srpm.name] = differences(by_mock, here)
    return found


@contextmanager
def local_runs(settings: Settings) -> Iterator[LocalRuns]:
    """Runs of tasks in a work directory; its roots are removed at the end."""
    with PodmanManager(PodmanConfig(worker_id=settings.worker_id)) as manager:
        images = PodmanSnapshotImages(manager.service)
        recipes, workdir = RecipeDirectory([ROOT / "recipes"]), Workdir(settings.workdir)
        try:
            yield LocalRuns(recipes=recipes, settings=settings, workdir=workdir, manager=manager, images=images)
        finally:
            upkeep(settings, images, manager, everything=True)


def build_here(
    runs: LocalRuns, srpm: Path, repo: Path, results: Path, *, extra: Mapping[str, Any] | None = None
) -> None:
    """A build with the macros and the environment of this comparison, for a tag with this `extra`. CommandError."""
    call = LocalCall(method="buildArch", inputs=(str(srpm),), repos=(PackageRepo(name="build", path=str(repo)),))
    host = attrs.evolve(this_host(), name=socket.getfqdn())  # a builder has its full name from the hub
    request, facts = local_task(runs.recipes.get("buildArch"), call, settings=runs.settings, host=host, task_id=0)
    macros, env = (tuple(NameValue(name=key, value=one[key]) for key in one) for one in (MACROS, ENV))
    tag = TagFacts(id=1, name="compare", extra=extra or {})
    outcome = runs.run(
        FetchedTask(request=request, facts=attrs.evolve(facts, macros=macros, env=env, build_tag=tag)),
        delivery=lambda _plan: ResultsDirectory(str(results)),
        display=lambda plan: make_progress(plan, sys.stderr, quiet=True),
    )
    if outcome.failure is not None:
        raise CommandError(f"{srpm.name}: {outcome.failure.message}")


def report(found: Mapping[str, Sequence[str]]) -> tuple[str, int]:
    """What there is to say, and how many differences are not known."""
    meant, unknown, text = known(), 0, []
    used: Counter[str] = Counter()
    for name, lines in found.items():
        reasons = [(line, next((item.why for item in meant if item.explains(line)), None)) for line in lines]
        used.update(why for _line, why in reasons if why is not None)
        strange = [line for line, why in reasons if why is None]
        unknown += len(strange)
        text += [f"### {name}: {len(lines)} differences, {len(strange)} of them not known (- mock, + here)", *strange]
    text += [f"known, {count}x: {why}" for why, count in used.most_common()]
    text += [f"known, not seen this time: {item.why}" for item in meant if item.lines and item.why not in used]
    return "\n".join(text), unknown


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.compare_mock", description=__doc__.partition("\n")[0])
    parser.add_argument("srpms", nargs="*", type=Path, metavar="SRPM")
    parser.add_argument("--repo", type=Path, help="repository with comps group `build`; default: the stand-in world's")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave results and logs of both sides in DIR")
    asked = parser.parse_args(argv)
    if asked.keep and asked.keep.exists():
        parser.error(f"{asked.keep} is there already")
    with tempfile.TemporaryDirectory(prefix="compare-") as scratch:
        try:
            repo = (asked.repo or standin.world_repo()).resolve()
            srpms = asked.srpms or [standin.srpm(name) for name in SAMPLES]
            text, unknown = report(compare(srpms, repo, (asked.keep or Path(scratch)).absolute()))
        except (NoMock, standin.NotSetUp, CommandError, EngineError) as error:
            print(f"compare_mock: {error}", file=sys.stderr)
            return 2
    print(text)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
