"""One hub task by its recipe: facts, plan, steps, results. Runs in a process of its own with its own session.

`RecipeTask` is the only task class of this worker; `task_classes` makes one subclass for each recipe, which is
how koji's TaskManager learns the methods. What `run` returns closes the task, what it raises fails, refuses or
frees it (koji's `runTask`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

import koji
import koji.tasks
from attrs import evolve, frozen

from engine.adapters import hub as hub_facts
from engine.adapters import probes
from engine.adapters.hub import Gathered
from engine.adapters.hub_files import HubFiles
from engine.adapters.podman import PodmanManager
from engine.adapters.tag_images import TagImages
from engine.adapters.workspace import TaskDirectory, Workdir
from engine.buildroot import PodmanSnapshotImages, Prepared, prepare
from engine.buildroot.rooted import RootedManager
from engine.core import render as core
from engine.core.closing import RecipeClosing
from engine.core.errors import BadInput, EngineError, HostUnfit, InfrastructureError, Interrupted, TaskFailed
from engine.core.facts import Facts, Settings, TaskRequest
from engine.core.outcome import TaskOutcome
from engine.core.recipe import Recipe
from engine.runner import run_task
from engine.runner.leftovers import remove_task
from engine.worker.buildroot import PackageFiles, TrackedBuildroot
from engine.worker.delivery import HubDelivery
from engine.worker.fetched import FetchedFirst
from engine.worker.logs import LogUploader, NotOurs
from engine.worker.options import HubOptions
from engine.worker.state import StateDirectory
from engine.worker.stop import StopRequest

HISTORY_MONTHS, HISTORY_WEIGHT, HISTORY_SECONDS = 6, 18.0, 4800.0


@frozen(kw_only=True)
class TaskContext:
    """What every task of a worker shares. `manager` makes a container manager for the calling process."""

    settings: Settings
    hub: HubOptions
    state: StateDirectory
    manager: Callable[[], PodmanManager]


def task_classes(recipes: Mapping[str, Recipe], context: TaskContext) -> list[type[RecipeTask]]:
    """A task class for each recipe, for TaskManager.registerHandler."""
    return [
        type(f"RecipeTask_{method}", (RecipeTask,), {"Methods": [method], "recipe": recipe, "context": context})
        for method, recipe in recipes.items()
    ]


class RecipeTask(koji.tasks.BaseTaskHandler):  # type: ignore[misc]  # koji has no types
    """Any task type that a recipe declares."""

    recipe: Recipe
    context: TaskContext

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.arguments: list[Any] = list(arguments[2])
        self.stop = StopRequest()
        self._later = ExitStack()

    def weight(self) -> float:
        return self.recipe.weight

    def checkHost(self, hostdata: Mapping[str, Any]) -> bool:  # noqa: N802 - koji's name
        """May this host's architectures build for the tag (contract 4.0 "tag arches")? Others' tasks: yes.

        Also where that cannot be found out: the task itself ends with the right words, or meets a hub that is well
        again. What is raised here koji's TaskManager takes for a no, and refuses the task for good.
        """
        try:
            request = self._request({"id": self.id})
            arches = hostdata.get("arches") or ""
            return hub_facts.fits_host(self.session, self.recipe, request, self.context.settings, arches)
        except Exception as error:  # noqa: BLE001 - see above
            self.logger.warning("task %d: cannot tell whether it suits this host: %s", self.id, error)
            return True

    def run(self) -> Any:
        """The task's result; koji errors, RefuseTask or SystemExit otherwise."""
        try:
            result = self._run()
        except TaskFailed as error:
            self._end("failed", str(error))
            raise fault_class(error.fault)(str(error)) from None
        except BadInput as error:
            self._bad_input(error)
        except InfrastructureError as error:
            self._end("unfit" if isinstance(error, HostUnfit) else "refused", str(error))
            raise koji.tasks.RefuseTask(str(error)) from None
        except (Interrupted, NotOurs, SystemExit) as error:
            self._end("stopped", str(error))
            raise SystemExit from None
        except koji.GenericError as error:
            self._end("failed", str(error))
            raise
        except Exception as error:  # a bug, of which koji tells the hub with its traceback
            self._end("failed", f"{type(error).__name__}: {error}")
            raise
        self._end("done", "")
        return result

    def _bad_input(self, error: BadInput) -> NoReturn:
        """A request that no host can do fails; a recipe or setting that is wrong here may be right elsewhere.

        That is none of the failures that take this worker out: a few tasks must not be able to.
        """
        if all(problem.where == "request" or problem.of_task for problem in error.problems):
            self._end("failed", str(error))
            raise koji.ParameterError(str(error)) from None
        self._end("unsuited", str(error))
        raise koji.tasks.RefuseTask(str(error)) from None

    def _end(self, end: str, text: str) -> None:
        clean = not os.path.exists(os.path.join(self.context.settings.workdir, str(self.id)))
        self.record("over", end=end, text=text, clean=clean and not self._leftovers)

    def record(self, phase: str, **more: Any) -> None:
        """For `engine status`."""
        self.context.state.write_task(self.id, method=self.method, phase=phase, **more)

    _leftovers = False

    def _run(self) -> Any:
        context, recipe = self.context, self.recipe
        request = self._request(self.taskinfo)
        hostdata = self.session.host.getHost() if recipe.buildroot else {}
        gathered = hub_facts.gather(
            self.session,
            recipe,
            request,
            context.settings,
            host_arches=hostdata.get("arches", ""),
            tag_images=TagImages(context.state.path / "tag-images", context.settings.adjutant_images_ttl),
        )
        facts = gathered.facts
        if recipe.probes:
            facts = evolve(facts, probes=probes.answers(core.probe_paths(recipe, request, facts)))
        core.render(recipe, request, facts)  # what a check refuses shall not make a buildroot first
        self._weigh(request, facts)
        buildroot = self._buildroot(facts)
        try:
            if buildroot is not None and facts.buildroot is not None:
                found = evolve(facts.buildroot, id=buildroot.id, name=buildroot.name)
                facts = evolve(facts, buildroot=found)
            return self._run_plan(request, facts, gathered, buildroot)
        except BaseException:
            if buildroot is not None and not self.stop.requested:
                with suppress(Exception):  # never instead of the reason itself; the next turn expires it otherwise
                    buildroot.expire()
            raise

    def _run_plan(
        self, request: TaskRequest, facts: Facts, gathered: Gathered, buildroot: TrackedBuildroot | None
    ) -> Any:
        context = self.context
        workdir = Workdir(context.settings.workdir)
        leftover = workdir.open(self.id)
        if leftover is not None:  # of an earlier run of this task, whose process is dead: its lock was free
            remove_task(leftover, context.settings.worker_id, context.manager())
        logs = LogUploader(self.session, self.id, timestamps=context.hub.log_timestamps, lost=self.stop.request)
        workspace = workdir.claim(self.id)
        delivery = HubDelivery(self, logs, buildroot, gathered, workspace, self.recipe.phases)
        try:
            with self.stop.shielded():
                logs.start()
                outcome = self._run_steps(request, facts, gathered, workspace, delivery)
        except Interrupted:
            if delivery.error is not None:
                raise delivery.error from None
            raise
        finally:
            logs.stop(wait=False)
            self._leftovers = delivery.leftovers
        return result_of(outcome)

    def _run_steps(
        self,
        request: TaskRequest,
        facts: Facts,
        gathered: Gathered,
        workspace: TaskDirectory,
        delivery: HubDelivery,
    ) -> TaskOutcome:
        """Prepare the root, render, run. The root's snapshot is let go of in `finish_up`."""
        recipe, manager = self.recipe, self.context.manager()

        def cancelled() -> bool:
            return self.stop.requested or delivery.error is not None

        settings = self.context.settings
        source = FetchedFirst(HubFiles(settings.topurl, settings.topdir, settings.workdir), workspace)
        try:
            root = Prepared(facts, manager)
            refused: EngineError | None = None
            try:
                fetched = self._fetch_first(request, facts, source, cancelled)
                root = prepare(
                    recipe,
                    request,
                    facts,
                    manager,
                    PodmanSnapshotImages(manager.service),
                    note=delivery.root_note,
                    output=delivery.root_output,
                    phase=delivery.root_phase,
                    cancelled=cancelled,
                    source=fetched,
                )
            except (TaskFailed, InfrastructureError) as error:
                refused = error
            self._later.enter_context(root)
            facts = root.facts
            plan = core.render(recipe, request, facts)
            closing = RecipeClosing(recipe, core.closing_variables(recipe, request, facts), plan.recipe)
            choice = core.image_choice(request, facts)
            delivery.begin(plan, facts, gathered.notes, packages_of(root, workspace.path), choice)
        except BaseException:
            workspace.remove()
            raise
        outcome = run_task(
            plan,
            manager=root.manager,
            workspace=workspace,
            source=source,
            closing=closing,
            delivery=delivery,
            progress=delivery,
            cancelled=cancelled,
            buildroot=root.report,
            earlier_logs=delivery.own_logs,
            refused=refused,
        )
        if outcome.failure is None:
            root.succeeded()
        return outcome

    def _fetch_first(
        self, request: TaskRequest, facts: Facts, source: FetchedFirst, cancelled: Callable[[], bool]
    ) -> str | None:
        """The host path of what the root's requirements are of; None if the hub's tree here has it, or none is used."""
        wanted, settings = self.recipe.buildroot, facts.settings
        if wanted is None or wanted.mode != "repo" or not settings.buildroots.repeats_after:
            return None
        for planned in core.render(self.recipe, request, facts).inputs:
            here = os.path.isfile(f"{settings.topdir}/work/{planned.source}")
            if planned.name == wanted.requirements_of and planned.path and not planned.local and not here:
                return source.fetch(planned, cancelled)
        return None

    def finish_up(self) -> None:
        """After the hub was told: a root just made is stored for the next task, which nobody waits for."""
        self._later.close()

    def _request(self, task: Mapping[str, Any]) -> TaskRequest:
        return hub_facts.task_request(self.recipe, task, self.arguments)

    def _buildroot(self, facts: Facts) -> TrackedBuildroot | None:
        wanted = self.recipe.buildroot
        if wanted is None or not wanted.tracked or facts.repo is None or facts.buildroot is None:
            return None
        return TrackedBuildroot(self.session, self.id, facts.repo, facts.buildroot.arch)

    def _weigh(self, request: TaskRequest, facts: Facts) -> None:
        """A source package that took long before is heavy (contract 4.2 step 3, trap 51)."""
        if facts.buildroot is None:
            return
        for value in request.params.values():
            if isinstance(value, str) and value.endswith(".src.rpm"):
                try:
                    name = koji.parse_NVRA(os.path.basename(value))["name"]
                except koji.GenericError:
                    return
                average = self.session.getAverageBuildDuration(name, age=HISTORY_MONTHS)
                if average and average > 0:
                    more = min(HISTORY_WEIGHT, average / HISTORY_SECONDS)
                    self.session.host.setTaskWeight(self.id, self.recipe.weight + more)
                return


def packages_of(root: Prepared, workspace: str) -> PackageFiles:
    """The lists of installed packages: what the warm root knows, and what the steps will say."""
    known = root.manager.lists if isinstance(root.manager, RootedManager) else {}
    return PackageFiles(workspace, known)


def result_of(outcome: TaskOutcome) -> Any:
    """The result, or the failure as an exception of ours."""
    failure = outcome.failure
    if failure is None:
        return outcome.result
    if failure.fault == "infrastructure":
        raise InfrastructureError(failure.message)
    raise TaskFailed(failure.fault, failure.message)


def fault_class(name: str) -> type[Exception]:
    """koji's exception class of a fault name; GenericError for one it does not know."""
    found = getattr(koji, name, None)
    known = isinstance(found, type) and issubclass(found, koji.GenericError)
    return found if known else koji.GenericError  # type: ignore[return-value]
