"""The parts of a run without a hub, put together: settings, work directory, podman, recipe, runner."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import attrs
from attrs import frozen

from engine.adapters import probes
from engine.adapters.inputs import LocalFiles
from engine.adapters.recipes import RecipeDirectory
from engine.adapters.this_host import this_host
from engine.adapters.workspace import TaskDirectory, Workdir
from engine.buildroot import Prepared, SnapshotImages, prepare
from engine.cli.progress import NotesOnly
from engine.core import policy
from engine.core.closing import RecipeClosing
from engine.core.errors import BadInput, EngineError, InfrastructureError, Problem, TaskFailed
from engine.core.facts import Facts, PackageRepo, Settings, TaskRequest
from engine.core.local import LocalCall, local_task
from engine.core.manager import Cancelled, ContainerManager
from engine.core.outcome import TaskOutcome
from engine.core.plan import Plan
from engine.core.recipe import Recipe
from engine.core.render import closing_variables, probe_paths, render
from engine.runner import run_task
from engine.runner.leftovers import remove_task
from engine.runner.phases import line
from engine.runner.ports import Delivery, InputSource
from engine.runner.task import never


def default_workdir() -> str:
    """Where runs without a hub keep their tasks: never a worker's directory, whose numbers are the hub's."""
    if os.geteuid() == 0:
        return "/var/tmp/koji-adjutant-run"  # noqa: S108 - made 0700 and its owner checked
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(state, "koji-adjutant")


def check_words(words: Mapping[str, object]) -> None:
    """BadInput for each word of a command line, by its option, that is not UTF-8: plans and results are."""
    problems = []
    for name, value in words.items():
        for word in value if isinstance(value, tuple) else (value,):
            if isinstance(word, str) and (complaint := policy.text_complaint(word)):
                problems.append(Problem("command line", name, *complaint))
    if problems:
        raise BadInput(problems)


def check_workdir(workdir: str | None) -> None:
    """BadInput when a directory is named, to be looked into, that is not there; the default may be missing."""
    if workdir is not None and not os.path.isdir(workdir):
        raise BadInput([Problem("--workdir", "", f"{workdir}: no such directory", "as given to engine run")])


def worker_id(workdir: str) -> str:
    """The label of local runs: two users, or two work directories, never touch each other's containers."""
    return f"run-{os.geteuid()}-{zlib.crc32(os.fsencode(os.path.abspath(workdir))):08x}"


def local_settings(config: str | None, *, workdir: str | None = None, network: bool | None = None) -> Settings:
    """The operator's settings where there are any, with a work directory and worker id of their own."""
    from engine.settings import load_settings

    settings = load_settings(config, local=True).settings
    place = os.path.abspath(workdir or default_workdir())
    return attrs.evolve(
        settings,
        workdir=place,
        worker_id=worker_id(place),
        adjutant_network_enabled=settings.adjutant_network_enabled if network is None else network,
    )


def package_repos(words: Sequence[str]) -> tuple[PackageRepo, ...]:
    """``--repo`` values: URLs as they are, directories that hold repodata. BadInput for all that are neither."""
    repos, problems = [], []
    for number, word in enumerate(words, 1):
        name = f"repo{number}"
        if not word:  # a shell's empty variable: it would mean the directory we are in
            problems.append(Problem("--repo", "", "is empty", "name a URL or a directory"))
            continue
        if "://" in word and not word.startswith("file://"):
            repos.append(PackageRepo(name=name, url=word))
            continue
        path = os.path.realpath(word.removeprefix("file://"))
        if trouble := _no_repository(word, path):
            problems.append(trouble)
        repos.append(PackageRepo(name=name, path=path))
    if problems:
        raise BadInput(problems)
    return tuple(repos)


def _no_repository(word: str, path: str) -> Problem | None:
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return Problem("--repo", "", f"{word} is neither a URL nor a directory")
        with suppress(FileNotFoundError):
            repomd = os.path.join(path, "repodata", "repomd.xml")
            if stat.S_ISREG(os.stat(repomd).st_mode):
                return None if os.access(repomd, os.R_OK) else Problem("--repo", "", f"{repomd}: Permission denied")
    except FileNotFoundError:
        return Problem("--repo", "", f"{word} is neither a URL nor a directory")
    except OSError as error:
        return Problem("--repo", "", f"{word}: {error.strerror}")
    return Problem("--repo", "", f"{word} has no repodata/repomd.xml", f"createrepo_c {word}")


class RootLog:
    """Tells of the making of a root: to the person, in a log that the installing steps go on with, and in `phases`."""

    NAME = "root.log"

    def __init__(self, directory: TaskDirectory, shown: NotesOnly, plan: Plan) -> None:
        self.directory, self.shown, self.limit, self.phases = directory, shown, plan.log_bytes, plan.phases
        self.names: list[str] = []

    def note(self, text: str) -> None:
        self.shown.phase(text)
        self._write(self.NAME, f"{text}\n".encode())

    def output(self, data: bytes) -> None:
        self.shown.background(data)
        self._write(self.NAME, data)

    def phase(self, text: str) -> None:
        if self.phases:
            self._write(self.phases, line(text))

    def _write(self, name: str, data: bytes) -> None:
        if name not in self.names:
            self.directory.prepare(["logs"])
            self.names.append(name)
        self.directory.log(name, self.limit).write(data)


@frozen(kw_only=True)
class FetchedTask:
    """A hub's task, read from there, to be run here; nothing is reported back."""

    request: TaskRequest
    facts: Facts


@frozen(kw_only=True)
class LocalRuns:
    """Runs tasks on this host. Threads may share it."""

    recipes: RecipeDirectory
    settings: Settings
    workdir: Workdir
    manager: ContainerManager
    images: SnapshotImages

    def run(
        self,
        call: LocalCall | FetchedTask,
        *,
        delivery: Callable[[Plan], Delivery],
        display: Callable[[Plan], NotesOnly],
        finished: Callable[[TaskOutcome], None] = lambda _outcome: None,
        cancelled: Cancelled = never,
        keep: bool = False,
    ) -> TaskOutcome:
        """One task in a directory of its own. Raises as `engine.runner.task.run_task` and the render do.

        `finished` is called as soon as the results are there: storing a new root for the next task comes after.
        """
        method = call.request.method if isinstance(call, FetchedTask) else call.method
        recipe = self.recipes.get(method)
        where = str(self.recipes.path(method))
        if isinstance(call, LocalCall):
            check_inputs(call.inputs, kinds_of(recipe))
        directory = self.workdir.claim()
        with self._unless_run(directory):
            if isinstance(call, FetchedTask):
                # The number names the work directory here; on the hub it is another task's, or nobody's.
                request, facts = attrs.evolve(call.request, task_id=directory.task_id), call.facts
            else:
                request, facts = local_task(
                    recipe, call, settings=self.settings, host=this_host(), task_id=directory.task_id
                )
            if recipe.probes:
                facts = attrs.evolve(facts, probes=probes.answers(probe_paths(recipe, request, facts)))
            # What is refused shall not make a root first; and its steps are what there is to show.
            plan = render(recipe, request, facts, where=where)
            shown = display(plan)
            log = RootLog(directory, shown, plan)
            root, refused = self._root(recipe, request, facts, log, cancelled)
        with root:
            with self._unless_run(directory):
                facts = root.facts
                if refused is None:
                    plan = shown.plan = render(recipe, request, facts, where=where)
                closing = RecipeClosing(recipe, closing_variables(recipe, request, facts), where)
            outcome = run_task(
                plan,
                manager=root.manager,
                workspace=directory,
                source=self._source(call, directory),
                closing=closing,
                delivery=delivery(plan),
                progress=shown,
                cancelled=cancelled,
                keep=keep,
                buildroot=root.report,
                earlier_logs=log.names,
                refused=refused,
            )
            if outcome.failure is None:
                root.succeeded()
            finished(outcome)
        return outcome

    def _source(self, call: LocalCall | FetchedTask, directory: TaskDirectory) -> InputSource:
        if isinstance(call, LocalCall):
            return LocalFiles()
        from engine.adapters.hub_files import HubFiles

        settings = call.facts.settings
        return HubFiles(settings.topurl, settings.topdir, str(directory.path))

    @staticmethod
    @contextmanager
    def _unless_run(directory: TaskDirectory) -> Iterator[None]:
        """What goes wrong before the runner has the directory in its care must remove it."""
        try:
            yield
        except BaseException:
            directory.remove()
            raise

    def _root(
        self, recipe: Recipe, request: TaskRequest, facts: Facts, log: RootLog, cancelled: Cancelled
    ) -> tuple[Prepared, EngineError | None]:
        """The task's root; or why there is none, which is then the task's failure."""
        try:
            root = prepare(
                recipe,
                request,
                facts,
                self.manager,
                self.images,
                note=log.note,
                output=log.output,
                phase=log.phase,
                cancelled=cancelled,
            )
        except (TaskFailed, InfrastructureError) as error:
            return Prepared(facts, self.manager), error
        return root, None

    def clear_abandoned(self, tell: Callable[[str], None]) -> None:
        """Remove what runs left that were killed, and tell of each."""
        for directory in self.workdir.abandoned():
            number = directory.task_id
            try:
                remove_task(directory, self.settings.worker_id, self.manager)
                tell(f"removed what a killed run left: task {number}")
            except EngineError as error:
                tell(f"what a killed run left could not be removed: task {number}: {error}")


def check_inputs(paths: Sequence[str], kinds: Sequence[str] = ()) -> None:
    """BadInput for every argument that is not there, cannot be read, or not of its kind: "file", "tree", "" for any."""
    problems = []
    for path, kind in zip(paths, (*kinds, *[""] * len(paths)), strict=False):
        if not path:
            problems.append(Problem("command line", "", "an argument is empty"))
        elif why := _out_of_reach(path):
            problems.append(Problem("command line", "", f"{path}: {why}"))
        elif not os.access(path, os.R_OK):
            problems.append(Problem("command line", "", f"{path}: may not be read by this user"))
        elif not (os.path.isfile(path) or os.path.isdir(path)):
            problems.append(Problem("command line", "", f"{path}: neither a file nor a directory"))
        elif kind == "file" and not os.path.isfile(path):
            problems.append(Problem("command line", "", f"{path}: is a directory, a file is wanted"))
        elif kind == "tree" and not os.path.isdir(path):
            problems.append(Problem("command line", "", f"{path}: is a file, a directory is wanted"))
    if problems:
        raise BadInput(problems)


def _out_of_reach(path: str) -> str:
    try:
        os.stat(path)
    except FileNotFoundError:
        return "no such file or directory"
    except OSError as error:
        return error.strerror or str(error)
    return ""


def absolute(paths: Sequence[str]) -> tuple[str, ...]:
    """Paths as the plan needs them: directories, which are mounted, by their real place."""
    return tuple(path and (os.path.realpath(path) if os.path.isdir(path) else os.path.abspath(path)) for path in paths)


def kinds_of(recipe: Recipe) -> tuple[str, ...]:
    """What each argument of the recipe is: "file" or "tree", "" for what is no input."""
    kinds = {item.name: item.kind for item in recipe.inputs}
    return tuple(str(kinds.get(name, "")) for name in recipe.local.args)
