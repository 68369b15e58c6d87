"""koji's TaskManager with containers in mind: nothing blocks the loop, nothing runs on without a daemon.

Kept as it is: polling, taking, forking, freeing what the hub says is ours but is not. Changed: ending a task is
a wish that is looked after pass by pass (a container gets `stop_grace`), its containers are gone before the
hub may give the task out again, and the worker takes itself out when its infrastructure keeps failing.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NoReturn

import koji
import koji.daemon
import koji.tasks

from engine.core.errors import InfrastructureError
from engine.worker.options import WorkerOptions
from engine.worker.outage import Outage
from engine.worker.processes import SideJob, die_with_parent, kill_group
from engine.worker.session import WorkerSession
from engine.worker.state import StateDirectory
from engine.worker.stop import StopRequest
from engine.worker.task import RecipeTask

logger = logging.getLogger(__name__)

KILL_MARGIN = 15.0
"""Seconds beyond `stop_grace` that a task process gets to remove its containers before it is killed."""
SWEEP_LIMIT, SWEEP_PAUSE = 120.0, 5.0
NOT_OPEN = frozenset({"FREE", "ASSIGNED"})
HELD_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM)


class Manager(koji.daemon.TaskManager):  # type: ignore[misc]  # koji has no types
    """The task manager of one worker.

    `sweep` removes the containers and the directory of one task, `check` is the self-check; both run in a process
    of their own and raise for failure. `space` are the paths whose file systems need `minspace`.
    """

    session: WorkerSession
    pids: dict[int, int]
    subsessions: dict[int, int]
    handlers: dict[str, type]

    def __init__(
        self,
        options: SimpleNamespace,
        session: WorkerSession,
        *,
        worker: WorkerOptions,
        state: StateDirectory,
        stop_grace: float,
        sweep: Callable[[int], None],
        check: Callable[[], None],
        space: Iterable[str],
    ) -> None:
        super().__init__(options, session)
        self.worker, self.state, self.stop_grace = worker, state, stop_grace
        self._sweep, self.space = sweep, tuple(space)
        self.process = os.getpid()
        self.stopping = False
        self.taken: dict[int, float] = {}
        self.taking: int | None = None
        self.outage = Outage(worker, check)
        self.last_check_in = 0.0
        self._killing: dict[int, float] = {}
        self._reaped: set[int] = set()
        self._sweeps: dict[int, SideJob] = {}
        self._sweep_again: dict[int, float] = {}

    # Task types

    def set_task_classes(self, classes: Iterable[type[RecipeTask]]) -> None:
        """The library's own task types (restart and the like) and those of the recipes, which win."""
        self.handlers = {}
        self.findHandlers(vars(koji.tasks))
        for cls in classes:
            for method in cls.Methods:
                if method in self.handlers:
                    logger.warning("the recipe %s takes the place of koji's own task of that name", method)
            self.registerHandler(cls)

    # Being ready

    def readyForTask(self) -> bool:  # noqa: N802 - koji's name
        self.status = ""
        if self.restart_pending and not self.pids and not self.stopping:
            raise koji.tasks.ServerRestart  # also while it takes no tasks
        reason = self._why_not()
        if reason:
            self.status = reason
            logger.info("not ready: %s", reason)
            return False
        ready = bool(super().readyForTask())
        # koji asks about the load last, with a limit of its own: having come that far, ours decides.
        if ready or self.status.startswith("Load average"):
            load, limit = os.getloadavg()[0], self.worker.max_load * os.sysconf("SC_NPROCESSORS_ONLN")
            ready = load <= limit
            self.status = "" if ready else f"Load average {load:.2f} > {limit:.2f}"
        return ready

    def _why_not(self) -> str:
        """Reasons of this worker's own; koji's follow."""
        drained = self.state.drained()
        if self.stopping:
            return "stopping"
        if drained is not None:
            return f"drained by the operator: {drained}"
        if self.restart_pending and self.pids:
            return f"restarting once {len(self.pids)} tasks have ended"
        if self._sweep_again:
            return f"leftovers of task {min(self._sweep_again)} cannot be removed"
        return self.outage.reason()

    def checkSpace(self) -> bool:  # noqa: N802 - koji's name
        """Room for workspaces and for containers (contract 2.3 step 5 measures mock's directory)."""
        for path in self.space:
            try:
                room = os.statvfs(path)
            except OSError as error:
                self.status = f"No disk space can be found at {path}: {error.strerror}"
                logger.warning(self.status)
                return False
            free = room.f_bavail * room.f_frsize // 2**20
            if free < self.options.minspace:
                self.status = f"Insufficient disk space at {path}: {free} MB, {self.options.minspace} MB required"
                logger.warning(self.status)
                return False
        return True

    def updateTasks(self) -> None:  # noqa: N802 - koji's name
        """As koji's, which lets a process run on whose task was freed and given to this host anew (contract 2.2)."""
        super().updateTasks()
        for task_id in self.pids.keys() - self.tasks.keys() - self._killing.keys() - self._reaped:
            info = self.session.getTaskInfo(task_id)
            if info is not None and koji.TASK_STATES[info["state"]] in NOT_OPEN:
                self._ask_to_stop(task_id)

    def takeTask(self, task: Mapping[str, Any]) -> bool:  # noqa: N802 - koji's name
        """As koji's, but never a task that has a process here still: freed on the hub, it was given to us again."""
        if task["id"] in self.pids:
            logger.info("task %d is taken again once its process (pid %d) is gone", task["id"], self.pids[task["id"]])
            return False
        self.taking = task["id"]
        taken = bool(super().takeTask(task))
        self.taking = None
        return taken

    def getNextTask(self) -> bool:  # noqa: N802 - koji's name
        taken = bool(super().getNextTask())
        self.last_check_in = time.time()
        return taken

    # A task's process

    def forkTask(self, handler: Any) -> tuple[int, int]:  # noqa: N802 - koji's name
        """As koji's, but the child never runs with the daemon's handlers, and no signal makes the daemon forget it."""
        child = self.session.subsession()
        session_id: int = child.sinfo["session-id"]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            pid = os.fork()
            if pid:
                self.pids[handler.id], self.subsessions[handler.id] = pid, session_id
                self.taken[handler.id] = time.time()
                child._forget()  # before a signal can raise: a session that is dropped logs itself out
                return pid, session_id
        except OSError as error:
            self._no_process(handler, error)
        finally:
            if os.getpid() == self.process:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            self._be_task_process(handler)
            self.session._forget()
            self.session = handler.session = child
            self.runTask(handler)
            if isinstance(handler, RecipeTask):
                handler.finish_up()
        finally:
            try:
                stop = getattr(handler, "stop", None)
                if stop is None or not stop.requested:  # the daemon logs it out, and waits for this end
                    child.logout()
            finally:
                os._exit(0)

    def _no_process(self, handler: Any, error: OSError) -> NoReturn:
        """This host's limit of processes or its memory is reached: another host takes the task."""
        text = f"no process can be started: {error.strerror}"
        self.outage.note(handler.id, handler.method, text)
        self.session.host.refuseTask(handler.id, msg=text)
        raise InfrastructureError(f"task {handler.id}: {text}") from None

    def _be_task_process(self, handler: Any) -> None:
        stop = getattr(handler, "stop", None) or StopRequest()
        die_with_parent(self.process)
        os.setpgrp()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, stop.handler)
        signal.signal(signal.SIGINT, stop.handler)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, lambda *_: None)  # wakes `wait` of the library's tasks
        self.state.write_task(handler.id, method=handler.method, phase="started")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)

    def cleanupTask(self, task_id: int, wait: bool = True) -> bool:  # noqa: N802 - koji's name
        """End a task's process (`wait`), or clear up after one that ended. False: not done yet, ask again."""
        if wait and task_id not in self._reaped:
            self._ask_to_stop(task_id)
            return False
        if task_id not in self._reaped:
            self._reaped.add(task_id)
            self._killing.pop(task_id, None)
            kill_group(self.pids[task_id])
        if not self._swept(task_id):
            return False
        session_id = self.subsessions.pop(task_id, None)
        if session_id is not None and not (self.stopping and self.session.away_since is not None):
            with suppress(Exception):  # as koji does: there is nothing more to do about it
                self.session.logoutChild(session_id)
        self._note_end(task_id)
        self.state.forget_task(task_id)
        self.taken.pop(task_id, None)
        self._reaped.discard(task_id)
        return True

    def _waitTask(self, task_id: int, pid: int | None = None) -> bool:  # noqa: N802 - koji's name
        """True once the process has ended. A pid that was waited for may be somebody else's by now."""
        return task_id in self._reaped or bool(super()._waitTask(task_id, pid))

    def _ask_to_stop(self, task_id: int) -> None:
        pid, now = self.pids[task_id], time.monotonic()
        if task_id not in self._killing:
            logger.info("asking task %d (pid %d) to stop", task_id, pid)
            self._killing[task_id] = now + self.stop_grace + KILL_MARGIN
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        elif now > self._killing[task_id]:
            logger.warning("task %d (pid %d) did not stop; killing it", task_id, pid)
            kill_group(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _swept(self, task_id: int) -> bool:
        """True once nothing of the task is left here; a process that ended in order has seen to it itself."""
        record = self.state.task(task_id)
        if record.get("clean") or record.get("method") in self._plain_methods():
            return True
        job = self._sweeps.get(task_id)
        if job is None:
            if time.monotonic() < self._sweep_again.get(task_id, 0.0):
                return False
            logger.warning("task %d ended without clearing up; removing what it left", task_id)
            self._sweeps[task_id] = SideJob(lambda: self._sweep(task_id), SWEEP_LIMIT)
            return False
        if not job.ended():
            return False
        del self._sweeps[task_id]
        if job.result:
            logger.error("leftovers of task %d: %s", task_id, job.result)
            self._sweep_again[task_id] = time.monotonic() + SWEEP_PAUSE
            return False
        self._sweep_again.pop(task_id, None)
        return True

    def _plain_methods(self) -> set[str]:
        """Task types of the library: they have no containers."""
        return {method for method, cls in self.handlers.items() if not issubclass(cls, RecipeTask)}

    def _note_end(self, task_id: int) -> None:
        record = self.state.task(task_id)
        end, text = record.get("end"), record.get("text", "")
        if end in {"done", "failed"}:
            self.outage.over()
        elif end in {"refused", "unsuited"}:
            self.outage.note(task_id, record.get("method", ""), text, counts=end == "refused")
        elif end is None and record.get("method") not in self._plain_methods() and not self.stopping:
            self.outage.note(task_id, record.get("method", ""), "the task's process ended without a word")

    # Ending

    @property
    def ending(self) -> bool:
        """True while something that ends must be looked after soon."""
        return bool(self._killing or self._sweeps or self._sweep_again or self.outage.checking)

    def reap(self) -> None:
        """Clear up after ended processes, without the hub."""
        for task_id, pid in list(self.pids.items()):
            if self._waitTask(task_id, pid) and self.cleanupTask(task_id, wait=False):
                del self.pids[task_id]

    def end_jobs(self) -> None:
        """End the processes beside the loop, without waiting for what they do."""
        self.outage.close()
        for job in self._sweeps.values():
            job.kill()

    def stop_tasks(self) -> list[int]:
        """Stop every task process and remove what they had; ids of the tasks stopped. Takes `stop_grace` or so."""
        stopped = list(self.pids)
        deadline = time.monotonic() + self.stop_grace + KILL_MARGIN + SWEEP_LIMIT
        while self.pids and time.monotonic() < deadline:
            for task_id in self.pids.keys() - self._reaped:
                self._ask_to_stop(task_id)
            self.reap()
            if self.session.heartbeat is not None:
                self.session.heartbeat()
            time.sleep(0.05)
        return stopped

    # For `engine status`

    def described(self) -> dict[str, Any]:
        """What this worker does, as plain data."""
        return {
            "ready": self.ready,
            "reason": self.status,
            "host_id": self.host_id,
            "host": dict(self.hostdata),
            "task_load": self.task_load,
            "last_check_in": self.last_check_in,
            "hub_away_since": self.session.away_since,
            "methods": sorted(self.handlers),
            "failures": list(self.outage.failures),
            "tasks": {str(task_id): self._described_task(task_id) for task_id in sorted(self.pids)},
        }

    def _described_task(self, task_id: int) -> Mapping[str, Any]:
        row = self.tasks.get(task_id) or {}
        return {
            "pid": self.pids[task_id],
            "since": self.taken.get(task_id),
            "weight": row.get("weight"),
            "waiting": row.get("waiting"),
            "stopping": task_id in self._killing,
        }
