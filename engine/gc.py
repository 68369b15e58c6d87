"""Removing what tasks that are gone left: containers, roots, workspaces, secrets, services. Never what lives.

A task lives as long as its directory exists: it is claimed before anything else of the task is made and removed
last, and its lock says whether a process still runs it. Only things that carry this worker's label are looked at.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from attrs import frozen

from engine.adapters.leftover_services import remove_stale_services
from engine.adapters.podman import PodmanManager
from engine.adapters.workspace import Workdir
from engine.buildroot.tools import LABEL_JOB_STATE
from engine.core.errors import EngineError
from engine.core.manager import ContainerInfo
from engine.core.spec import LABEL_TASK_ID, LABEL_WORKER_ID, ContainerHandle
from engine.runner.leftovers import remove_task
from engine.selftest.plan import WORKDIR as SELFTEST

logger = logging.getLogger(__name__)

T = TypeVar("T")
CHECK_AGE = 3600.0
"""Seconds after which a container of a check (`engine doctor`, `engine image check`) must be over, and one of which
only the storage is left was not just being made."""


@frozen(kw_only=True)
class Collected:
    """What was removed, by name or path; `failed` says what could not be, with the reason."""

    containers: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Things removed."""
        return len(self.containers) + len(self.workspaces) + len(self.secrets) + len(self.services)


def collect(
    manager: PodmanManager,
    *,
    worker_id: str,
    workdir: str | None,
    kept_seconds: float | None = None,
    dry_run: bool = False,
) -> Collected:
    """Remove leftovers of `worker_id`. Never raises for what cannot be removed: that is in `failed`.

    `workdir` holds the task directories; None: no task of this worker lives. Tasks kept by ``--keep`` stay,
    those older than `kept_seconds` do not. `dry_run` only names what would go.
    """
    return _Collector(manager, worker_id, dry_run).run(workdir, kept_seconds)


class _Collector:
    def __init__(self, manager: PodmanManager, worker_id: str, dry_run: bool) -> None:
        self.manager, self.worker_id, self.dry_run = manager, worker_id, dry_run
        self.failed: list[str] = []

    def run(self, workdir: str | None, kept_seconds: float | None) -> Collected:
        # Asked before the directories: what is made from now on belongs to a task that lives.
        containers = self._ask(lambda: self.manager.containers({LABEL_WORKER_ID: self.worker_id}))
        secrets = self._ask(lambda: self.manager.secrets.stored(self.worker_id))
        places = [path for path in ([workdir, f"{workdir}/{SELFTEST}"] if workdir else []) if os.path.isdir(path)]
        workspaces: list[str] = []
        living: set[str] = set()
        for path in places:
            place = Workdir(path)
            workspaces += self._workspaces(place, kept_seconds)
            living |= {str(number) for number in place.ids()}
        dead = [info for info in containers if self._is_dead(info, living)]
        # Long enough ago that nobody is just making it, of whatever worker: by the name alone one cannot be sure.
        lost = self._ask(self.manager.storage_containers)
        lost = [info for info in lost if self._is_dead(info, living) and time.time() - info.created > CHECK_AGE]
        # A root's own container goes last: steps run on it.
        dead.sort(key=lambda info: info.state == "created")
        return Collected(
            workspaces=tuple(workspaces),
            containers=self._each(
                ((info.name, ContainerHandle(id=info.id, name=info.name)) for info in dead),
                lambda handle: self.manager.remove(handle, force=True),
            )
            + self._each(((info.name, info.name) for info in lost), self.manager.remove_storage),
            secrets=self._each(
                ((secret.name, secret.name) for secret in secrets if secret.task_id not in living),
                self.manager.secrets.remove,
            ),
            services=() if self.dry_run else tuple(remove_stale_services()),
            failed=tuple(self.failed),
        )

    def _is_dead(self, info: ContainerInfo, living: set[str]) -> bool:
        if LABEL_JOB_STATE in info.labels:  # roots being made: `engine.buildroot.upkeep` knows their locks
            return False
        task = info.labels.get(LABEL_TASK_ID, "0")
        if task in living:
            return False
        if task != "0":
            return True
        pid = re.search(r"-([0-9]+)\Z", info.name)
        running = pid is not None and os.path.exists(f"/proc/{pid[1]}")
        return not running or time.time() - info.created > CHECK_AGE

    def _workspaces(self, place: Workdir, kept_seconds: float | None) -> list[str]:
        found = place.abandoned()
        if kept_seconds is not None:
            old = [number for number, kept in place.kept().items() if time.time() - kept.since > kept_seconds]
            found += [directory for number in old if (directory := place.open(number)) is not None]
        removed = []
        for directory in found:
            if self.dry_run:
                directory.close()
                removed.append(directory.path)
                continue
            try:
                remove_task(directory, self.worker_id, self.manager)
            except EngineError as error:
                self.failed.append(str(error))
            else:
                removed.append(directory.path)
        return removed

    def _ask(self, question: Callable[[], list[T]]) -> list[T]:
        try:
            return question()
        except EngineError as error:
            self.failed.append(str(error))
            return []

    def _each(self, things: Iterable[tuple[str, T]], remove: Callable[[T], object]) -> tuple[str, ...]:
        """Names of the things removed; one that cannot be does not keep the others."""
        removed = []
        for name, thing in things:
            if not self.dry_run:
                try:
                    remove(thing)
                except EngineError as error:
                    self.failed.append(str(error))
                    continue
                logger.info("removed %s, left by a task that is gone", name)
            removed.append(name)
        return tuple(removed)
