"""Running the steps of a plan one after the other: logs, rounds, timeouts, and whose fault an end is."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterable

from engine.core.errors import ContainerError, InfrastructureError, Interrupted
from engine.core.manager import Cancelled, ContainerManager, Outcome
from engine.core.outcome import DiskSpace, Failure, StepRun
from engine.core.plan import Plan, PlannedStep
from engine.core.recipe import Artifact
from engine.core.results import matches
from engine.core.verdict import disk_words, step_cause, step_failure
from engine.runner.phases import Phases, step_title
from engine.runner.ports import Closing, Progress, StepLog, WorkspaceFiles

DISK_INTERVAL = 0.2
"""Seconds between two looks at the free space while a step runs."""


class StepRunner:
    """Runs the steps of one plan. `runs` are the steps so far, also after an exception."""

    def __init__(
        self,
        plan: Plan,
        *,
        manager: ContainerManager,
        workspace: WorkspaceFiles,
        closing: Closing,
        progress: Progress,
        cancelled: Cancelled,
    ) -> None:
        self.plan, self.manager, self.workspace = plan, manager, workspace
        self.closing, self.progress, self.cancelled = closing, progress, cancelled
        self.runs: list[StepRun] = []
        self.logs: dict[str, StepLog] = {}
        self.phases = Phases(plan.phases, workspace, plan.log_bytes, self.logs)

    def know_logs(self, names: Iterable[str]) -> None:
        """Logs that were begun before the first step."""
        for name in names:
            self.logs[name] = self.workspace.log(name, self.plan.log_bytes)

    def run(self) -> Failure | None:
        """Run all steps, or up to the first that fails. Interrupted when `cancelled` says so."""
        places = {step.name: index for index, step in enumerate(self.plan.steps)}
        rounds: Counter[str] = Counter()
        again: Counter[str] = Counter()
        wanted: set[int] = set()
        index = 0
        while index < len(self.plan.steps):
            step = self.plan.steps[index]
            if (step.standby and index not in wanted) or not self._has_file(step):
                index += 1
                continue
            rounds[step.name] += 1
            asks, failure = self._run_step(step, index + 1, rounds[step.name])
            if asks and step.again is not None:
                if again[step.name] >= step.again.max:
                    code, most = step.again.exit, step.again.max
                    words = f"step {step.name}: asked for another round (exit code {code}) more than {most} times"
                    return Failure(fault=step.fails, message=words, step=step.name, log=step.log)
                again[step.name] += 1
                wanted.update(range(places[step.again.step], index))
                index = places[step.again.step]
                continue
            if failure is not None:
                return failure
            index += 1
        return None

    def _has_file(self, step: PlannedStep) -> bool:
        """What the step waits for is there, or it waits for nothing."""
        if step.when_file is None:
            return True
        wanted = Artifact(name=step.name, glob=(step.when_file,), fails=step.fails)
        return any(entry.kind == "file" and matches(wanted, entry.path) for entry in self.workspace.scan([wanted]))

    def _run_step(self, step: PlannedStep, number: int, round_: int) -> tuple[bool, Failure | None]:
        """Whether it asks for another round, and else why it failed, if it did."""
        if self.cancelled():
            raise Interrupted("stopped before step " + step.name)
        log = self.logs[step.log] = self.workspace.log(step.log, self.plan.log_bytes)
        watch = _DiskWatch(self.workspace)

        def sink(data: bytes) -> None:
            log.write(data)
            self.progress.output(step, data)

        def stop() -> bool:
            watch.look()
            return self.cancelled() or log.cut or log.trouble is not None

        if step.container.log_path:
            self.workspace.forget(step.container.log_path)
        self.progress.step_started(step, number, len(self.plan.steps), round_)
        self.phases.say(f"Start: {step_title(step, round_)}")
        if step.echo:
            sink(f"$ {shlex.join(step.container.argv)}\n".encode())
        try:
            outcome = self.manager.run(
                step.container,
                timeout=step.timeout or None,
                log=sink,
                cancelled=stop,
                log_limit=log.room,
            )
        except ContainerError as error:
            self._ended(step, StepRun(name=step.name, round=round_, log=step.log))
            raise self._named(step, error) from error
        watch.look(now=True)
        if log.trouble is not None:
            self._ended(step, _run_of(step, outcome, round_, ok=False))
            why = _full(watch.lowest) or str(log.trouble)
            raise InfrastructureError(f"step {step.name}: cannot write the log {step.log}: {why}")
        if self.cancelled():
            self._ended(step, _run_of(step, outcome, round_, ok=False))
            raise Interrupted(f"stopped in step {step.name}")
        if outcome.log_exceeded:
            log.end_early()
        failure = self._judge(step, outcome, log, watch.lowest)
        asks = _asks_again(step, outcome) and failure is not None and failure.fault != "infrastructure"
        self._ended(step, _run_of(step, outcome, round_, ok=failure is None or asks, again=asks))
        if step.container.log_path:
            self.workspace.forget(step.container.log_path)  # its text is in the log; both would double the space
        return asks, failure

    def _judge(self, step: PlannedStep, outcome: Outcome, log: StepLog, disks: Iterable[DiskSpace]) -> Failure | None:
        cause = step_cause(step, outcome, log_limit=self.plan.log_bytes if log.cut else None)
        if cause is None:
            return None
        message = self.closing.fault_text(step, outcome, cause)
        return step_failure(step, outcome, cause=cause, message=message, log_cut=log.cut, disks=disks, tail=log.tail())

    def _ended(self, step: PlannedStep, run: StepRun) -> None:
        self.runs.append(run)
        self.phases.take_over()
        self.phases.say(f"Finish: {step_title(step, run.round)}" + ("" if run.ok else ", failed"))
        self.progress.step_ended(step, run)

    def _named(self, step: PlannedStep, error: ContainerError) -> ContainerError:
        """The error with the step it happened in; a full disk is said as such."""
        full = _full(self.workspace.disks())
        why = f"{error.why}; {full}" if full else error.why
        return ContainerError(f"step {step.name}: {error.what}", error.where, why, cure=error.cure, retry=error.retry)


class _DiskWatch:
    """The least room seen on each disk: what a failing tool frees again does not hide the cause."""

    def __init__(self, workspace: WorkspaceFiles) -> None:
        self._workspace = workspace
        self._lowest = {space.path: space for space in workspace.disks()}
        self._next = time.monotonic() + DISK_INTERVAL

    def look(self, *, now: bool = False) -> None:
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + DISK_INTERVAL
        for space in self._workspace.disks():
            known = self._lowest.setdefault(space.path, space)
            self._lowest[space.path] = min(known, space, key=lambda room: (room.inodes > 0, room.bytes))

    @property
    def lowest(self) -> tuple[DiskSpace, ...]:
        return tuple(self._lowest.values())


def _full(disks: Iterable[DiskSpace]) -> str:
    """The first full disk in words, or ""."""
    return next((f"disk full: {disk_words(disk)}" for disk in disks if disk.full), "")


def _run_of(step: PlannedStep, outcome: Outcome, round_: int, *, ok: bool, again: bool = False) -> StepRun:
    return StepRun(
        name=step.name,
        round=round_,
        ok=ok,
        again=again,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        oom=outcome.oom,
        timed_out=outcome.timed_out,
        seconds=round(outcome.seconds, 3),
        log=step.log,
    )


def _asks_again(step: PlannedStep, outcome: Outcome) -> bool:
    stopped = outcome.timed_out or outcome.cancelled or outcome.oom or outcome.log_exceeded
    return step.again is not None and outcome.exit_code == step.again.exit and not stopped
