"""The parts of a run without a hub, put together: settings, work directory, podman, recipe, runner."""

from __future__ import annotations

import os
import platform
import socket
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress

import attrs
from attrs import frozen

from engine.adapters import probes
from engine.adapters.inputs import LocalFiles
from engine.adapters.recipes import RecipeDirectory
from engine.adapters.workspace import TaskDirectory, Workdir
from engine.buildroot import Prepared, SnapshotImages, prepare
from engine.core.closing import RecipeClosing
from engine.core.errors import BadInput, EngineError, Problem
from engine.core.facts import HostFacts, PackageRepo, Settings
from engine.core.local import LocalCall, local_task
from engine.core.manager import Cancelled, ContainerManager
from engine.core.outcome import TaskOutcome
from engine.core.plan import Plan
from engine.core.recipe import Recipe
from engine.core.render import closing_variables, probe_paths, render
from engine.runner import run_task
from engine.runner.leftovers import remove_task
from engine.runner.ports import Delivery, Progress
from engine.runner.task import never


def default_workdir() -> str:
    """Where runs without a hub keep their tasks: never a worker's directory, whose numbers are the hub's."""
    if os.geteuid() == 0:
        return "/var/tmp/koji-adjutant-run"  # noqa: S108 - made 0700 and its owner checked
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "koji-adjutant")


def worker_id(workdir: str) -> str:
    """The label of local runs: two users, or two work directories, never touch each other's containers."""
    return f"run-{os.geteuid()}-{zlib.crc32(os.path.abspath(workdir).encode()):08x}"


def local_settings(config: str | None, *, workdir: str | None = None, network: bool | None = None) -> Settings:
    """The operator's settings where there are any, with a work directory and worker id of their own."""
    from engine.settings import load_settings

    settings = load_settings(config).settings
    place = os.path.abspath(workdir or default_workdir())
    return attrs.evolve(
        settings,
        workdir=place,
        worker_id=worker_id(place),
        adjutant_network_enabled=settings.adjutant_network_enabled if network is None else network,
    )


def this_host() -> HostFacts:
    """This machine as facts."""
    name = socket.gethostname() or "localhost"
    return HostFacts(name=name, arch=platform.machine(), cpus=len(os.sched_getaffinity(0)))


def package_repos(words: Sequence[str]) -> tuple[PackageRepo, ...]:
    """``--repo`` values: URLs as they are, directories that hold repodata. BadInput for all that are neither."""
    repos, problems = [], []
    for number, word in enumerate(words, 1):
        name = f"repo{number}"
        if "://" in word and not word.startswith("file://"):
            repos.append(PackageRepo(name=name, url=word))
            continue
        path = os.path.realpath(word.removeprefix("file://"))
        if not os.path.isdir(path):
            problems.append(Problem("--repo", "", f"{word} is neither a URL nor a directory"))
        elif not os.path.isfile(os.path.join(path, "repodata", "repomd.xml")):
            problems.append(Problem("--repo", "", f"{word} has no repodata/repomd.xml", f"createrepo_c {word}"))
        repos.append(PackageRepo(name=name, path=path))
    if problems:
        raise BadInput(problems)
    return tuple(repos)


def quiet(_text: str) -> None:
    """Nobody is told."""


@frozen(kw_only=True)
class LocalRuns:
    """Runs tasks on this host. Threads may share it."""

    recipes: RecipeDirectory
    settings: Settings
    workdir: Workdir
    manager: ContainerManager
    images: SnapshotImages | None = None
    note: Callable[[str], None] = quiet

    def run(
        self,
        call: LocalCall,
        *,
        delivery: Callable[[Plan], Delivery],
        progress: Callable[[Plan], Progress],
        cancelled: Cancelled = never,
        keep: bool = False,
    ) -> TaskOutcome:
        """One task in a directory of its own. Raises as `engine.runner.task.run_task` and the render do."""
        recipe = self.recipes.get(call.method)
        where = str(self.recipes.path(call.method))
        check_inputs(call.inputs)
        directory = self.workdir.claim()
        with ExitStack() as stack:
            return self._run(recipe, where, call, directory, stack, delivery, progress, cancelled, keep)

    def _run(
        self,
        recipe: Recipe,
        where: str,
        call: LocalCall,
        directory: TaskDirectory,
        stack: ExitStack,
        delivery: Callable[[Plan], Delivery],
        progress: Callable[[Plan], Progress],
        cancelled: Cancelled,
        keep: bool,
    ) -> TaskOutcome:
        try:
            request, facts = local_task(
                recipe, call, settings=self.settings, host=this_host(), task_id=directory.task_id
            )
            if recipe.probes:
                facts = attrs.evolve(facts, probes=probes.answers(probe_paths(recipe, request, facts)))
            root = Prepared(facts, self.manager)
            if self.images is not None:
                root = prepare(recipe, request, facts, self.manager, self.images, note=self.note, cancelled=cancelled)
            stack.enter_context(root)
            facts = root.facts
            plan = render(recipe, request, facts, where=where)
            closing = RecipeClosing(recipe, closing_variables(recipe, request, facts), where)
            stores, shows = delivery(plan), progress(plan)
        except BaseException:
            directory.remove()
            raise
        outcome = run_task(
            plan,
            manager=root.manager,
            workspace=directory,
            source=LocalFiles(),
            closing=closing,
            delivery=stores,
            progress=shows,
            cancelled=cancelled,
            keep=keep,
            buildroot=root.report,
        )
        if outcome.failure is None:
            root.succeeded()
        return outcome

    def clear_abandoned(self) -> list[int]:
        """Remove what runs left that were killed; their numbers."""
        cleared = []
        for directory in self.workdir.abandoned():
            with suppress(EngineError):
                remove_task(directory, self.settings.worker_id, self.manager)
                cleared.append(directory.task_id)
        return cleared


def check_inputs(paths: Sequence[str]) -> None:
    """BadInput for every argument that is not there or cannot be read."""
    problems = []
    for path in paths:
        if not os.path.exists(path):
            problems.append(Problem("command line", "", f"{path}: no such file or directory"))
        elif not os.access(path, os.R_OK):
            problems.append(Problem("command line", "", f"{path}: may not be read by this user"))
        elif not (os.path.isfile(path) or os.path.isdir(path)):
            problems.append(Problem("command line", "", f"{path}: neither a file nor a directory"))
    if problems:
        raise BadInput(problems)


def absolute(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths as the plan needs them: directories, which are mounted, by their real place."""
    return tuple(os.path.realpath(path) if os.path.isdir(path) else os.path.abspath(path) for path in paths)
