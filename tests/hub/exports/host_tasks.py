"""What a host does with a task it was given (contract 2.4-2.6, appendix B)."""

from __future__ import annotations

from typing import Any

import koji

from .. import scheduler, task_rules
from ..caller import Exports
from ..records import Task
from ..task_rules import CLOSED, FAILED


class HostExports(Exports):
    def openTask(self, task_id: int) -> dict[str, Any] | None:
        task = self._db.task(task_id, missing="query returned no rows")
        if not task_rules.open_task(self._db, task, self._host):
            return None
        return task_rules.as_row(task) | {"request": task.request}

    def closeTask(self, task_id: int, response: str) -> None:
        task_rules.end(self._db, self._owned(task_id), CLOSED, response)

    def failTask(self, task_id: int, response: str) -> None:
        task_rules.end(self._db, self._owned(task_id), FAILED, response)

    def freeTasks(self, tasks: list[int]) -> None:
        found = [self._db.task(task_id) for task_id in tasks]
        for task in found:
            if task_rules.is_owned(task, self._host):
                task_rules.free(self._db, task)

    def refuseTask(self, task_id: int, soft: bool = True, msg: str = "") -> None:
        for name, value, kind in (("soft", soft, bool), ("msg", msg, str)):
            if not isinstance(value, kind):
                text = f"Invalid type for {name}: {type(value)}"
                raise koji.ParameterError(text)
        task = self._db.task(task_id)
        if task.host_id != self._host.id:
            return
        if task.state in task_rules.FINAL:
            task_rules.free(self._db, task)
        task_rules.refuse(self._db, task, self._host, soft=soft, msg=msg, by_host=True)
        scheduler.log(self._db, f"Host refused task: {msg}", task=task, host=self._host)
        task_rules.free(self._db, task)

    def setTaskWeight(self, task_id: int, weight: float) -> None:
        task = self._owned(task_id)
        if weight < 0:
            msg = f"negative task weight: {weight}"
            raise koji.GenericError(msg)
        task.weight = float(weight)
        self._db.touch()

    # -- children

    def subtask(self, method: str, arglist: list[Any], parent: int, **opts: Any) -> int:
        owner = self._owned(parent)
        return task_rules.make(self._db, owner.owner, method, arglist, parent=parent, **opts).id

    def subtask2(self, _parent: int, _taskopts: dict[str, Any], _method: str, *args: Any, **opts: Any) -> int:
        owner = self._owned(_parent)
        return task_rules.make(self._db, owner.owner, _method, list(args), kwargs=opts, parent=_parent, **_taskopts).id

    def taskSetWait(self, parent: int, tasks: list[int] | None) -> None:
        if tasks is not None and not isinstance(tasks, list):
            msg = f"Invalid type for tasks: {type(tasks)}"
            raise koji.ParameterError(msg)
        task_rules.set_wait(self._db, self._db.task(parent), tasks)

    def taskWait(self, parent: int) -> list[list[int]]:
        finished, unfinished = task_rules.awaited_children(self._db, parent)
        for task_id in finished:
            self._db.tasks[task_id].awaited = False
            self._db.touch()
        return [finished, unfinished]

    def taskUnwait(self, parent: int) -> None:
        task_rules.stop_waiting(self._db, self._db.task(parent))

    def taskWaitResults(
        self, parent: int, tasks: list[int] | None, canfail: list[int] | None = None
    ) -> list[list[Any]]:
        if tasks is None:
            ended = (CLOSED, FAILED)
            tasks = [each.id for each in task_rules.children(self._db, parent) if each.state in ended]
        results: list[list[Any]] = []
        for task_id in tasks:
            may_fail = task_id in (canfail or [])
            try:
                value = task_rules.result_of(self._db.task(task_id), raise_fault=not may_fail)
            except koji.GenericError as error:
                if not may_fail:
                    raise
                value = {"faultCode": error.faultCode, "faultString": str(error)}
            results.append([task_id, value])
        task_rules.stop_waiting(self._db, self._db.task(parent))
        return results

    def _owned(self, task_id: int) -> Task:
        return task_rules.owned(self._db, task_id, self._host)
