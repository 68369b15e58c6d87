"""What a running task tells the hub: buildroot states and packages between the steps, results and logs at the end."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import koji

from engine.adapters.hub import Gathered
from engine.adapters.workspace import TaskDirectory
from engine.core.errors import InfrastructureError
from engine.core.excerpt import clean
from engine.core.facts import BuildrootFacts, Facts, PackageRepo
from engine.core.images import ImageChoice
from engine.core.outcome import ArtifactSet, ImageUsed, StepRun, TaskOutcome
from engine.core.plan import Plan, PlannedStep
from engine.core.plan_text import plan_text
from engine.runner.phases import line, step_title
from engine.worker.buildroot import InstalledPackages, Origins, RepoFiles, TrackedBuildroot
from engine.worker.logs import LogUploader
from engine.worker.stop import StopRequest

ENVIRONMENT_LOG, ROOT_LOG, OUTPUT_LOG, PLAN_LOG = "mock_config.log", "root.log", "mock_output.log", "adjutant_plan.log"
"""What the environment was, how it was made, and what was done in it, under the names that people and tools look for
(contract 3.4, appendix F); and the plan."""
LOG_LIMIT = 64 * 1024 * 1024
UPLOADS = 4
"""Tries of one file, in some seven seconds, of which each has the tries that every call has."""


class RunningTask(Protocol):
    """What is needed of the task."""

    id: int
    session: Any
    logger: logging.Logger
    stop: StopRequest

    def record(self, phase: str, **more: Any) -> None:
        """Say for `engine status` what is going on."""


class HubDelivery:
    """Progress and delivery of one task: tells the hub and the daemon what the runner tells.

    `error` is what went wrong with the hub between two steps; it stops the run. `own_logs` are the logs that the
    worker adds to the steps' own; `phases` names the recipe's log of phases, "": none.
    """

    def __init__(
        self,
        task: RunningTask,
        logs: LogUploader,
        buildroot: TrackedBuildroot | None,
        gathered: Gathered,
        workspace: TaskDirectory,
        phases: str = "",
    ) -> None:
        self.task, self.logs, self.buildroot, self.workspace = task, logs, buildroot, workspace
        self.phases = phases
        self.error: Exception | None = None
        self.leftovers = False
        self.own_logs: list[str] = []
        self.packages: InstalledPackages | None = None
        self.origins: Origins | None = None
        facts = gathered.facts
        self._image_log = PLAN_LOG
        self._in_root = facts.buildroot is not None
        if buildroot is not None and facts.repo is not None:
            repo = facts.repos[0] if facts.repos else PackageRepo(name="build")
            self.origins = Origins(facts.repo, RepoFiles(repo), gathered.external_rows, buildroot.arch, task.session)

    # Before the steps

    def root_note(self, text: str) -> None:
        """A sentence about the making of the root."""
        self._record(text)
        self._say(f"INFO: {text}")
        self.root_output(f"{text}\n".encode())

    def root_output(self, data: bytes) -> None:
        """What the tools printed that make the root; the installing steps go on with the same log."""
        self._write(ROOT_LOG, data)

    def root_phase(self, text: str) -> None:
        """A phase of the making of the root has begun or ended."""
        if name := self.phases:
            self._write(name, line(text))

    def begin(
        self, plan: Plan, facts: Facts, notes: Sequence[str], packages: InstalledPackages, choice: ImageChoice
    ) -> None:
        """The plan is known: say what the environment is, and have the steps' logs sent. `choice` is the task image."""
        self.packages = packages
        self._image_log = PLAN_LOG if facts.buildroot is None else ENVIRONMENT_LOG
        self._write(PLAN_LOG, plan_text(plan).encode())
        if facts.buildroot is not None:
            self._write(ENVIRONMENT_LOG, environment_text(plan, facts, notes).encode())
        self._write(self._image_log, f"# task image {choice.image}: {clean(choice.reason)}\n".encode())
        self._say(f"INFO: the plan is in {PLAN_LOG}")
        for note in notes:
            self.task.logger.warning("task %d: %s", self.task.id, note)
        for name in (*(step.log for step in plan.steps), *filter(None, (plan.phases,))):
            self.logs.add(name, os.path.join(self.workspace.path, "logs", name))

    def _write(self, name: str, data: bytes) -> None:
        if name not in self.own_logs:
            self.workspace.prepare(["logs"])
            self.own_logs.append(name)
            self.logs.add(name, os.path.join(self.workspace.path, "logs", name))
        self.workspace.log(name, LOG_LIMIT).write(data)

    # Progress

    def phase(self, text: str) -> None:
        self._record(text)
        self._say(f"INFO: {text}")

    def image(self, used: ImageUsed) -> None:
        """Which image a name stood for, where people look for the environment."""
        what = f"{used.id or 'the root just made'} {used.digest}".rstrip()
        self._write(self._image_log, f"# image {used.name} = {what}\n".encode())

    def step_started(self, step: PlannedStep, number: int, total: int, round_: int) -> None:
        again = f", round {round_}" if round_ > 1 else ""
        self._record(f"step {number} of {total}: {step.name}{again}", step=step.name)
        self._say(f"Start: {step_title(step, round_)}; its output is in {step.log}")
        self._set_packages()

    def output(self, step: PlannedStep, data: bytes) -> None:
        """Sent by the uploader, which reads the log itself."""

    def step_ended(self, step: PlannedStep, run: StepRun) -> None:
        how = "" if run.ok else f", failed{'' if run.exit_code is None else f' with exit code {run.exit_code}'}"
        self._say(f"Finish: {step_title(step, run.round)} ({run.seconds:.1f} s){how}")
        self._set_packages()

    def _set_packages(self) -> None:
        """As soon as the root's first packages are known they go to the hub."""
        buildroot, origins, packages = self.buildroot, self.origins, self.packages
        if buildroot is None or origins is None or packages is None or buildroot.state != "INIT":
            return
        if self.task.stop.requested or self.error is not None:
            return
        try:
            before = packages.before()
            if before is not None:
                buildroot.set_packages(origins.mark(before))
        except Exception as error:  # noqa: BLE001 - raised again by the task once the runner has cleaned up
            self.error = error
            self._send_logs()

    def _send_logs(self) -> None:
        """What was said so far belongs to a failure of ours, too; the workspace goes before that is told."""
        with suppress(Exception):
            self.logs.finish()

    def note(self, text: str) -> None:
        if text.startswith("not cleaned up:"):
            self.leftovers = True
        else:
            self._say(f"WARNING: {text}")
        self.task.logger.warning("task %d: %s", self.task.id, text)

    def _say(self, text: str) -> None:
        """A line of the log that stands for mock's own output."""
        if self._in_root:
            self._write(OUTPUT_LOG, line(text))

    def _record(self, phase: str, **more: Any) -> None:
        self.task.record(phase, **more)

    # Delivery

    def deliver(self, outcome: TaskOutcome, workspace: str) -> None:
        """Everything to the hub. No container runs any more, so a signal may end it at any place."""
        with self.task.stop.unshielded():
            self._record("uploading")
            if self.error is not None:
                raise self.error
            if self.buildroot is not None and self.origins is not None and self.packages is not None:
                self.buildroot.set_building()
                try:
                    after = self.packages.after()
                    if after is not None:
                        self.buildroot.update_packages(self.origins.mark(after))
                except Exception:
                    self._send_logs()
                    raise
            try:
                self._upload(outcome.artifacts, workspace)
            except (InfrastructureError, koji.GenericError, OSError) as error:
                if outcome.failure is None or self.task.stop.requested:
                    raise
                self.note(f"not uploaded: {error}")  # the task fails by its own words
            self._say(f"ERROR: {outcome.failure.message}" if outcome.failure else "INFO: done")
            arrived = self.logs.finish()
            missing = [log.name for log in outcome.logs if log.bytes and log.name not in arrived]
            if missing:
                raise InfrastructureError(f"logs did not reach the hub: {', '.join(missing)}")
            if self.buildroot is not None:
                self.buildroot.expire()

    def _upload(self, artifacts: Iterable[ArtifactSet], workspace: str) -> None:
        directory = koji.pathinfo.taskrelpath(self.task.id)
        for group in artifacts:
            for file in group.files if group.upload else ():
                self._record(f"uploading {file.name}")
                self._upload_file(os.path.join(workspace, file.source), directory, file.name)

    def _upload_file(self, path: str, directory: str, name: str) -> None:
        """As often as it takes for the hub to have exactly this, but not for ever: InfrastructureError then.

        koji's uploadWrapper compares sizes and checksums, and repeats nothing (contract 3.4).
        """
        for attempt in range(UPLOADS):
            try:
                self.task.session.uploadWrapper(path, directory, name)
                return
            except (koji.ActionNotAllowed, koji.AuthError):  # cancelled, or this session is none any more
                raise
            except (koji.GenericError, koji.xmlrpcplus.Fault) as error:
                self.task.logger.warning("task %d: uploading %s: %s", self.task.id, name, error)
                if attempt == UPLOADS - 1:
                    raise InfrastructureError(f"{name} could not be uploaded, {UPLOADS} times: {error}") from None
            time.sleep(2.0**attempt)


def environment_text(plan: Plan, facts: Facts, notes: Sequence[str]) -> str:
    """What the environment of a build was, for people: root, repos, macros, and what of the tag was not honoured."""
    buildroot = facts.buildroot or BuildrootFacts()
    lines = [
        "# The environment of this build: containers, described by the plan of the same directory",
        f"buildroot = {buildroot.name or '(not tracked)'}",
        f"buildroot_id = {buildroot.id}",
        f"arch = {buildroot.arch}",
        f"image = {plan.anchor.image if plan.anchor else ''}",
        f"plan = {plan.digest}",
        f"worker = {plan.worker_id}",
    ]
    if facts.build_tag:
        lines.append(f"tag = {facts.build_tag.name}")
    if facts.repo:
        lines.append(f"repo = {facts.repo.id} (event {facts.repo.create_event})")
    lines += [f"repo.{repo.name} = {repo.path or repo.url}" for repo in facts.repos]
    lines += [f"external_repo = {repo.url} ({repo.merge_mode})" for repo in facts.external_repos]
    lines += [f"macro %{macro.name} = {macro.value}" for macro in facts.macros]
    lines += [f"env {variable.name} = {variable.value}" for variable in facts.env]
    for key, value in sorted((facts.build_tag.extra if facts.build_tag else {}).items()):
        setting = f"tag setting {key} = "
        if key.startswith("mock.") and not any(note.startswith(setting) for note in notes):
            lines.append(f"{setting}{json.dumps(value)}")
    lines += [f"# {note}" for note in notes]
    return "\n".join(lines) + "\n"
