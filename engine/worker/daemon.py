"""The daemon: start-up, the loop around koji's TaskManager, signals, and an end that leaves nothing behind.

Signals: SIGTERM (or SIGINT) stops, in-flight tasks get `shutdown_timeout`, a second one ends them now; SIGUSR1
finishes what runs and starts anew; SIGHUP reads the recipes again; SIGCHLD only wakes the loop.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import Any

import koji
import koji.tasks
import koji.util

from engine.adapters.leftover_services import remove_stale_services
from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.adapters.worker_names import WorkerName
from engine.core.errors import EXIT_INFRASTRUCTURE, EXIT_OK, BadInput, InfrastructureError, Problem
from engine.worker.config import WorkerConfig
from engine.worker.housekeeping import Housekeeping, UpkeepPace
from engine.worker.manager import KILL_MARGIN, SWEEP_LIMIT, Manager
from engine.worker.notify import Notifier
from engine.worker.options import MAX_CHECK_IN
from engine.worker.processes import SideJob
from engine.worker.recipes import ServedRecipes
from engine.worker.session import WorkerSession, connect, require_credentials
from engine.worker.signals import Signals, StopNow
from engine.worker.state import StateDirectory
from engine.worker.task import TaskContext, task_classes

logger = logging.getLogger(__name__)

SOON = 0.5
"""Seconds between two looks while something ends."""
FINAL_SWEEP = 120.0
UPKEEP_LIMIT = 1800.0
MARGIN = 5.0
"""Seconds that a turn may take longer than the last one before a check-in comes late."""
SELF_CHECK = 300.0


class Daemon:
    """One worker from start to end: `run` returns the exit code."""

    def __init__(self, config: WorkerConfig, recipes: ServedRecipes) -> None:
        self.config, self.recipes = config, recipes
        self.state = StateDirectory(config.settings.workdir)
        self.name = WorkerName(config.settings.worker_id, config.settings.workdir)
        self.notifier = Notifier()
        self.started = time.time()
        self.version = version("koji-adjutant")
        self._podman: PodmanManager | None = None
        self.signals = Signals()
        self._turn_began = 0.0
        self._upkeep: SideJob | None = None
        self._pace = UpkeepPace(often=bool(config.settings.buildroots.warm))

    def run(self) -> int:
        """Start, serve, stop. BadInput or InfrastructureError when it cannot start."""
        koji.util.setup_rlimits(dict(self.config.rlimits), logger=logger)
        koji.pathinfo.topdir = koji.BASEDIR = self.config.settings.topdir
        require_credentials(self.config.hub)
        self.notifier.status("starting")
        self.signals.at_start()
        self.recipes.load()
        if not self.recipes.recipes:
            raise BadInput(self.recipes.problems or [Problem("settings", "worker.recipes", "no recipe was found")])
        self.state.take_lock()
        try:
            self.name.take()
            self.state.write(self._known())
            remove_stale_services()  # of a daemon that was killed; each would linger for minutes
            with PodmanManager(self._podman_config()) as self._podman:
                return self._serve()
        finally:
            self.name.release()
            self.state.release_lock()

    def _podman_config(self) -> PodmanConfig:
        settings = self.config.settings
        return PodmanConfig(
            worker_id=settings.worker_id,
            socket=self.config.worker.podman,
            pull_policy=settings.adjutant_image_pull_policy,
            timeouts=settings.adjutant_container_timeouts,
            secrets=settings.adjutant_secrets,
        )

    def _containers(self) -> PodmanManager:
        """The manager for the calling process: a forked one shares the service, not the connections."""
        assert self._podman is not None  # noqa: S101 - for the type checker; `run` sets it first
        return self._podman

    def _serve(self) -> int:
        housekeeping = Housekeeping(
            self.config.settings, self._containers, hub=self.config.hub, self_test=self.config.worker.self_test
        )
        images = list(self.recipes.images())
        pulls = 1 + len(self.config.settings.adjutant_images) + len(images)
        self.notifier.status("starting: images and self-check")
        self.notifier.needs(pulls * self.config.settings.adjutant_container_timeouts.pull + SELF_CHECK)
        housekeeping.self_check(images)
        self.notifier.status(f"starting: logging in at {self.config.hub.server}")
        session = connect(self.config.hub, force_lock=self.config.force_lock)
        try:
            manager = self._manager(session, housekeeping, images)
        except BaseException as error:
            session.give_up_retrying()
            with suppress(Exception):  # the next start need not take the session over
                session.logout()
            if type(error) is koji.AuthError:  # the login was accepted: what is refused is host.getID
                cure = "koji add-host NAME ARCHES makes one, with the worker's user as its name"
                raise InfrastructureError(f"hub {self.config.hub.server}: {error} ({cure})") from None
            raise
        self.signals.for_loop(
            hub_is_away=lambda: manager.session.away_since is not None, opening=lambda: manager.taking is not None
        )
        self._containers().let_go()  # from here on only forked processes ask podman
        try:
            return self._loop(manager)
        finally:
            self.signals.at_end()

    def _manager(self, session: WorkerSession, housekeeping: Housekeeping, images: list[str]) -> Manager:
        # Only the holder of the session may judge what is left over (contract trap 1).
        self.notifier.status("starting: removing what is left over")
        housekeeping.sweep()
        for number in list(self.state.tasks()):
            self.state.forget_task(number)
        session.heartbeat = self.notifier.alive
        manager = Manager(
            self.config.koji_options(),
            session,
            worker=self.config.worker,
            state=self.state,
            stop_grace=self.config.settings.adjutant_container_timeouts.stop_grace,
            sweep=housekeeping.sweep,
            check=lambda: housekeeping.self_check(self.recipes.images()),  # they may have been read again since
            space=self._space(),
        )
        self._offer(manager)
        session.noted_away = lambda: self._note_away(manager)
        return manager

    def _space(self) -> list[str]:
        """Where room is needed: the workspaces, and podman's storage if it is another place of this host."""
        root = self._containers().graph_root()
        return [self.config.settings.workdir, *([root] if root and os.path.isdir(root) else [])]

    def _offer(self, manager: Manager) -> None:
        context = TaskContext(
            settings=self.config.settings, hub=self.config.hub, state=self.state, manager=self._containers
        )
        manager.set_task_classes(task_classes(self.recipes.recipes, context))

    # The loop

    def _loop(self, manager: Manager) -> int:
        code = EXIT_OK
        taken = False
        self.notifier.send(READY=1, MAINPID=os.getpid())
        self.notifier.status("asking the hub for tasks")
        logger.info("ready: %s", ", ".join(sorted(self.recipes.recipes)))
        try:
            while not self.signals.stops:
                try:
                    taken = self._turn(manager, skip_buildroots=taken)
                except koji.RetryError as error:
                    logger.warning("%s; trying again", error)
                    taken = False
                except koji.AuthError as error:
                    logger.error("the hub does not accept this session any more: %s", error)
                    code = EXIT_INFRASTRUCTURE
                    break
                except (koji.tasks.ServerExit, koji.tasks.ServerRestart):
                    raise
                except Exception:
                    logger.exception("a turn of the loop failed")
                    taken = False
                self._tell(manager)
                if self.config.once and self._once_done(manager, taken):
                    break
                if not taken:
                    self._sleep(SOON if manager.ending else float(self.config.hub.sleeptime))
        except koji.tasks.ServerRestart:
            self._restart(manager)
            return EXIT_OK  # a stop signal came meanwhile
        except (koji.tasks.ServerExit, StopNow):
            pass
        self._shut_down(manager, patient=code == EXIT_OK)
        return code

    def _turn(self, manager: Manager, *, skip_buildroots: bool) -> bool:
        """One pass as kojid makes it (contract 2.2); True when a task was taken."""
        self.notifier.alive()
        self._turn_began = time.time()
        if self.signals.reload:
            self.signals.reload = False
            self.recipes.load()
            logger.info("read recipes again: %s", ", ".join(sorted(self.recipes.recipes)) or "none is left")
            self._offer(manager)
            manager.outage.resume()
        manager.restart_pending = manager.restart_pending or self.signals.restart
        try:
            with self.signals.cut_off():
                if not skip_buildroots:
                    manager.updateBuildroots(nolocal=True)
                manager.updateTasks()
                if self.signals.stops and not manager.stopping:
                    return False  # what is taken now would only be freed again
                return manager.getNextTask()
        finally:
            self._keep_up(manager)

    def _keep_up(self, manager: Manager) -> None:
        """Now and then, best when no task runs, look after the stored roots; beside the loop, not in it."""
        if self._upkeep is not None and self._upkeep.ended():
            if self._upkeep.result:
                logger.warning("looking after stored roots: %s", self._upkeep.result)
            self._upkeep = None
        busy, ending = bool(manager.pids), manager.restart_pending or manager.stopping or bool(self.signals.stops)
        if self._upkeep is None and not ending and self._pace.due(time.monotonic(), busy=busy):
            housekeeping = Housekeeping(
                self.config.settings, self._containers, hub=self.config.hub, recipes=self.recipes.recipes
            )
            self._upkeep = SideJob(partial(housekeeping.upkeep, busy=busy), UPKEEP_LIMIT)

    def _once_done(self, manager: Manager, taken: bool) -> bool:
        """With --once: no second task, and the end when the first has ended."""
        if taken:
            manager.stopping = True
        return manager.stopping and not manager.pids

    def _sleep(self, seconds: float) -> None:
        """Until `seconds` are over or a signal comes; never so long that the hub would miss us."""
        most = MAX_CHECK_IN - (time.time() - self._turn_began) - MARGIN
        self.signals.sleep(min(seconds, most))

    def _tell(self, manager: Manager) -> None:
        tasks = len(manager.pids)
        how = "ready" if manager.ready else f"not ready: {manager.status}"
        if manager.session.away_since is not None:
            how = "the hub does not answer"
        self.notifier.status(f"{how}; {tasks} task{'' if tasks == 1 else 's'}")
        self.state.write({**self._known(), "turn": self._turn_began, **manager.described()})

    def _note_away(self, manager: Manager) -> None:
        """The hub went or came back in the middle of a call, which may go on for hours."""
        with suppress(OSError):  # never instead of the call's own error
            self._tell(manager)

    def _known(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "version": self.version,
            "worker_id": self.config.settings.worker_id,
            "hub": self.config.hub.server,
            "started": self.started,
            "written": time.time(),
            "sleeptime": self.config.hub.sleeptime,
            "stopping": bool(self.signals.stops),
            "recipes": {method: str(self.recipes.files[method]) for method in self.recipes.recipes},
            "problems": [str(problem) for problem in self.recipes.problems],
        }

    # The end

    def _shut_down(self, manager: Manager, *, patient: bool) -> None:
        """ADR "Shutdown Signal Flow": no new tasks, time for the running ones, then their containers end."""
        manager.stopping = True
        self.notifier.send(STOPPING=1)
        self.notifier.needs(
            self.config.worker.shutdown_timeout + manager.stop_grace + KILL_MARGIN + SWEEP_LIMIT + FINAL_SWEEP
        )
        manager.session.give_up_retrying()
        if patient:
            self._wait_for_tasks(manager)
        stopped = manager.stop_tasks()
        if self._upkeep is not None:
            self._upkeep.kill()
        sweeper = SideJob(Housekeeping(self.config.settings, self._containers).sweep, FINAL_SWEEP)
        while not sweeper.ended():
            self.notifier.alive()
            time.sleep(0.05)
        if sweeper.result:
            logger.error("not everything could be removed: %s", sweeper.result)
        try:
            # What was being taken when a signal cut the call off may be open by now.
            cut_off = [] if manager.taking is None else [manager.taking]
            if mine := sorted({*stopped, *manager.tasks, *cut_off}):
                manager.session.host.freeTasks(mine)
                logger.info("freed tasks %s", mine)
            manager.session.host.updateHost(task_load=0.0, ready=False)
            manager.session.logout()
        except Exception as error:
            logger.error("could not say good-bye to the hub: %s; it frees the tasks at the next start", error)
            manager.session._forget()  # or koji logs out once more when the process ends
        manager.ready, manager.status = False, "stopped"
        self._tell(manager)

    def _wait_for_tasks(self, manager: Manager) -> None:
        deadline = time.monotonic() + self.config.worker.shutdown_timeout
        while manager.pids and self.signals.stops < 2 and time.monotonic() < deadline:
            self.notifier.status(f"stopping; waiting for {len(manager.pids)} tasks")
            try:
                self._turn(manager, skip_buildroots=True)
            except (Exception, StopNow) as error:
                logger.warning("while stopping: %s", error)
                manager.reap()
            self._tell(manager)
            left = max(0.0, deadline - time.monotonic())
            self._sleep(min(left, SOON if manager.ending else float(self.config.hub.sleeptime)))

    def _restart(self, manager: Manager) -> None:
        """All tasks have ended: become a new process of the same command line, and the same pid; or end, if told so."""
        logger.info("restarting")
        self.signals.before_anew()
        self.notifier.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        # They would go on as children of the new process, and hold the lock it needs.
        if self._upkeep is not None:
            self._upkeep.kill()
        manager.end_jobs()
        manager.session.give_up_retrying()
        try:
            with self.signals.cut_off():
                manager.session.logout()
        except (Exception, StopNow) as error:
            logger.warning("could not log out before starting anew: %s", str(error) or "told to stop")
            manager.session._forget()  # or koji tries again when the process ends
        self._containers().close()
        self.signals.hold_back_stops()
        if self.signals.stops:
            return
        self.name.release()
        self.state.release_lock()
        self.notifier.restore()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is the point
