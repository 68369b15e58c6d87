"""One task from plan to outcome, through protocols only; whatever happens, nothing is left behind."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import attrs

from engine.core.errors import ContainerError, EngineError, InfrastructureError, Interrupted, TaskFailed
from engine.core.manager import Cancelled, ContainerManager
from engine.core.outcome import ArtifactSet, Failure, ImageUsed, InputUsed, LogFile, TaskOutcome
from engine.core.plan import Plan
from engine.core.results import select
from engine.core.snapshots import BuildrootReport
from engine.core.spec import LABEL_TASK_ID, LABEL_WORKER_ID, ContainerHandle
from engine.runner.inputs import fetch_input
from engine.runner.interruptible import interruptible
from engine.runner.ports import Closing, Delivery, InputSource, Progress, Silent, WorkspaceFiles
from engine.runner.scrub import scrub
from engine.runner.steps import StepRunner


def never() -> bool:
    """Nobody asks to stop."""
    return False


def run_task(
    plan: Plan,
    *,
    manager: ContainerManager,
    workspace: WorkspaceFiles,
    source: InputSource,
    closing: Closing,
    delivery: Delivery,
    progress: Progress | None = None,
    cancelled: Cancelled = never,
    keep: bool = False,
    buildroot: BuildrootReport | None = None,
    earlier_logs: Iterable[str] = (),
    refused: EngineError | None = None,
) -> TaskOutcome:
    """Run `plan` in `workspace` (claimed; nothing in it but `earlier_logs`) and hand the results to `delivery`.

    A failed task is an outcome with `failure`, not an exception. `Interrupted` when `cancelled` says stop,
    `BadInput` when an input that the user named is not there, `InfrastructureError` when the results cannot be
    delivered: in each case after everything was cleaned up. `keep` leaves workspace and root for a look.
    `buildroot` says where the root comes from; it goes into the outcome. With `refused`, what went wrong before
    (the root could not be made), nothing is run and the task fails by it.
    """
    task = _Task(plan, manager, workspace, source, closing, progress or Silent(), cancelled, buildroot)
    try:
        task.steps.know_logs(earlier_logs)
        outcome = task.run(refused, kept=workspace.path if keep else None)
        if cancelled():
            raise Interrupted("stopped before the results were stored")
        delivery.deliver(outcome, workspace.path)
        return outcome
    except KeyboardInterrupt:
        raise Interrupted("stopped") from None
    finally:
        task.clean_up(keep=keep)


class _Task:
    def __init__(
        self,
        plan: Plan,
        manager: ContainerManager,
        workspace: WorkspaceFiles,
        source: InputSource,
        closing: Closing,
        progress: Progress,
        cancelled: Cancelled,
        buildroot: BuildrootReport | None,
    ) -> None:
        self.plan, self.manager, self.workspace = plan, manager, workspace
        self.source, self.closing, self.progress, self.cancelled = source, closing, progress, cancelled
        self.steps = StepRunner(
            plan, manager=manager, workspace=workspace, closing=closing, progress=progress, cancelled=cancelled
        )
        self.buildroot = buildroot
        self.images: list[ImageUsed] = []
        self.inputs: list[InputUsed] = []
        self.artifacts: tuple[ArtifactSet, ...] = ()
        self.notes: list[str] = []

    def run(self, refused: EngineError | None, kept: str | None) -> TaskOutcome:
        started, clock = time.time(), time.monotonic()
        failure, result = None, None
        try:
            if refused is not None:
                raise refused
            self._prepare()
            failure = self.steps.run()
            if failure is None:
                failure = self._collect()
            if failure is None:
                result = self.closing.result(self.artifacts, self._logs())
        except TaskFailed as error:
            failure = self._failure(error, error.fault)
        except InfrastructureError as error:
            failure = self._failure(error, "infrastructure")
        if failure is not None:
            self._collect_always()
        return TaskOutcome(
            status="failed" if failure else "done",
            method=self.plan.method,
            task_id=self.plan.task_id,
            worker_id=self.plan.worker_id,
            plan=self.plan.digest,
            started=round(started, 3),
            seconds=round(time.monotonic() - clock + (self.buildroot.seconds if self.buildroot else 0), 3),
            images=tuple(self.images),
            buildroot=self.buildroot,
            inputs=tuple(self.inputs),
            steps=tuple(self.steps.runs),
            artifacts=self.artifacts,
            logs=tuple(self._logs()),
            result=result,
            failure=failure,
            notes=tuple(self.notes),
            workspace=kept,
        )

    def _failure(self, error: EngineError, fault: str) -> Failure:
        last = self.steps.runs[-1] if self.steps.runs and not self.steps.runs[-1].ok else None
        return Failure(
            fault=fault,  # type: ignore[arg-type]  # TaskFailed carries any Koji fault class
            message=str(error),
            step=last.name if last else "",
            log=last.log if last else error.log if error.log in self.steps.logs else "",
            retry=isinstance(error, ContainerError) and error.retry,
        )

    def _prepare(self) -> None:
        self.workspace.record(self.plan)
        self.workspace.prepare(self.plan.directories)
        for file in self.plan.files:
            self.workspace.write(file.path, [file.content.encode()], int(file.mode, 8))
        for planned in self.plan.inputs:
            if planned.path:
                opened = partial(self.source.open, planned)
                with self._phase(f"fetching {planned.source}"):
                    size, sha256 = fetch_input(opened, planned.source, self.workspace, planned.path, self.cancelled)
                self.inputs.append(InputUsed(name=planned.name, source=planned.source, bytes=size, sha256=sha256))
            else:
                self.source.check_tree(planned)
        anchor = self.plan.anchor
        images = [anchor.image] if anchor else []
        images += [step.container.image for step in self.plan.steps if step.container.root is None]
        for name in dict.fromkeys(images):
            wanted = partial(self.manager.ensure_image_available, name)
            with self._phase(f"looking for image {name}"):
                info = interruptible(wanted, self.cancelled, "stopped while getting an image")
            self.images.append(ImageUsed(name=name, id=info.id, digest=info.digest))
            self.progress.image(self.images[-1])
        if anchor is not None:
            with self._phase("preparing the root"):
                handle = self.manager.create_anchor(anchor)
            self.workspace.watch(self.manager.anchor_path(handle.name))

    @contextmanager
    def _phase(self, text: str) -> Iterator[None]:
        """Something other than a step is going on."""
        self.progress.phase(text)
        with self.steps.phases.during(text):
            yield

    def _collect(self) -> Failure | None:
        with self._phase("collecting results"):
            found = self.workspace.scan(self.plan.artifacts) if self.plan.artifacts else []
            selection = select(self.plan.artifacts, found, list(self.steps.logs))
        self.artifacts = selection.sets
        self._note(*selection.notes)
        return selection.failure

    def _collect_always(self) -> None:
        """What a failed task leaves: the sets that are wanted in any case, and nothing else."""
        self.artifacts = ()
        wanted = [attrs.evolve(artifact, min=0) for artifact in self.plan.artifacts if artifact.always]
        if not wanted:
            return
        try:
            selection = select(wanted, self.workspace.scan(wanted), list(self.steps.logs))
        except EngineError as error:
            self._note(f"not collected: {error}")
            return
        self._note(*selection.notes)
        if selection.failure is not None:
            self._note(f"not collected: {selection.failure.message}")
        else:
            self.artifacts = tuple(group for group in selection.sets if group.files)

    def _note(self, *texts: str) -> None:
        for text in texts:
            if text not in self.notes:
                self.notes.append(text)
                self.progress.note(text)

    def _logs(self) -> list[LogFile]:
        return [LogFile(name=name, bytes=log.size, cut=log.cut) for name, log in self.steps.logs.items()]

    def clean_up(self, *, keep: bool) -> None:
        """Remove what this task made; what cannot be removed is named, and does not change the outcome."""
        anchor = self.plan.anchor.name if self.plan.anchor else ""
        with self._noting():
            for handle in self._containers(anchor):
                if not (keep and handle.name == anchor):
                    with self._noting():
                        self.manager.remove(handle, force=True)
        with self._noting():
            if keep:
                self.workspace.keep(self.steps.runs[-1].name if self.steps.runs else "")
            else:
                self.workspace.remove(self._scrub)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except EngineError as error:
            self.progress.note(f"not cleaned up: {error}")

    def _containers(self, anchor: str) -> list[ContainerHandle]:
        """This task's containers, the anchor last: steps run on its root."""
        labels = {LABEL_TASK_ID: str(self.plan.task_id), LABEL_WORKER_ID: self.plan.worker_id}
        found = [ContainerHandle(id=info.id, name=info.name) for info in self.manager.containers(labels)]
        return sorted(found, key=lambda handle: (handle.name == anchor, handle.name))

    def _scrub(self) -> None:
        self.progress.phase("removing what the containers wrote")
        scrub(self.plan, self.manager)
