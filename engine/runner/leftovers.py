"""Removing a task that no process runs any more: kept by `engine run --keep`, or left by a process that died."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from engine.core.manager import ContainerManager
from engine.core.plan import Plan
from engine.core.spec import LABEL_TASK_ID, LABEL_WORKER_ID, ContainerHandle
from engine.runner.scrub import scrub


class Leftover(Protocol):
    """A task's directory, locked by us; `engine.adapters.workspace.TaskDirectory` is one."""

    @property
    def task_id(self) -> int:
        """The task's number."""

    def plan(self) -> Plan | None:
        """What ran in it."""

    def remove(self, scrub: Callable[[], None] | None = None) -> None:
        """Remove it."""


def remove_task(directory: Leftover, worker_id: str, manager: ContainerManager) -> None:
    """Remove the task's containers, then its directory. InfrastructureError when something stays."""
    found = manager.containers({LABEL_TASK_ID: str(directory.task_id), LABEL_WORKER_ID: worker_id})
    # Steps run on the root that a created, never started container holds: it goes last.
    for info in sorted(found, key=lambda info: info.state == "created"):
        manager.remove(ContainerHandle(id=info.id, name=info.name), force=True)
    plan = directory.plan()
    directory.remove(partial(scrub, plan, manager) if plan is not None else None)
