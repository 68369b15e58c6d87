"""Calls about tasks that any client may make, and what admins may do to them."""

from __future__ import annotations

from typing import Any

import koji

from .. import task_rules, uploads
from ..caller import Exports
from ..records import HOST_USER, Task
from .queries import page

Ids = int | list[int]


class RootExports(Exports):
    # -- asking

    def getTaskInfo(self, task_id: Ids, request: bool = False, strict: bool = False) -> Any:
        if isinstance(task_id, list):
            return [self.getTaskInfo(each, request, strict) for each in task_id]
        if task_id not in self._db.tasks and not strict:
            return None
        task = self._db.task(task_id, missing="query returned no rows")
        return self._row(task, request=request)

    def getTaskRequest(self, taskId: int) -> list[Any]:
        return task_rules.request_of(self._db.task(taskId))

    def getTaskResult(self, taskId: int, raise_fault: bool = True) -> Any:
        return task_rules.result_of(self._db.task(taskId), raise_fault=raise_fault)

    def getTaskChildren(self, task_id: int, request: bool = False, strict: bool = False) -> list[dict[str, Any]]:
        if strict:
            self._db.task(task_id)
        return [self._row(task, request=request) for task in task_rules.children(self._db, task_id)]

    def getTaskDescendents(self, task_id: int, request: bool = False) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        todo = [task_id]
        while todo:
            current = todo.pop()
            rows = self.getTaskChildren(current, request)
            found[str(current)] = rows
            todo += [row["id"] for row in rows]
        return found

    def taskFinished(self, taskId: int) -> bool:
        return self._db.task(taskId).state in task_rules.FINAL

    def listTasks(self, opts: dict[str, Any] | None = None, queryOpts: dict[str, Any] | None = None) -> Any:
        opts = dict(opts or {})
        decode = opts.pop("decode", False)
        rows = []
        for task in self._db.tasks.values():
            if not all(self._matches(task, name, wanted) for name, wanted in opts.items()):
                continue
            owner = self._db.users[task.owner]
            row = self._row(task) | {"owner_name": owner.name, "owner_type": owner.usertype}
            row["request"] = task_rules.request_of(task) if decode else task.request
            row["result"] = task.result if not decode or task.result is None else self._outcome(task)
            rows.append(row)
        return page(rows, queryOpts)

    def _outcome(self, task: Task) -> Any:
        return task_rules.result_of(task, raise_fault=False)

    def _matches(self, task: Task, name: str, wanted: Any) -> bool:
        if name in {"createdBefore", "createdAfter"}:
            before = name == "createdBefore"
            return bool(task.create_ts <= wanted if before else task.create_ts >= wanted)
        have = getattr(task, name, None)
        return bool(have in wanted if isinstance(wanted, list) else have == wanted)

    def _row(self, task: Task, *, request: bool = False) -> dict[str, Any]:
        row = task_rules.as_row(task)
        if request:
            row["request"] = task_rules.request_of(task)
        return row

    # -- output

    def listTaskOutput(self, taskID: int, stat: bool = False, all_volumes: bool = False, strict: bool = False) -> Any:
        if strict:
            self._db.task(taskID)
        return uploads.list_output(self._db, taskID, stat=stat, all_volumes=all_volumes)

    def downloadTaskOutput(
        self,
        taskID: int,
        fileName: str,
        offset: int | str = 0,
        size: int | str = -1,
        volume: str | None = None,
    ) -> str:
        return uploads.read_output(self._db, taskID, fileName, int(offset), int(size), volume)

    def checkUpload(
        self,
        path: str,
        name: str,
        verify: str | None = None,
        tail: int | None = None,
        volume: str | None = None,
    ) -> dict[str, Any] | None:
        self._caller.login()
        return uploads.check(self._db, path, name, verify=verify, tail=tail, volume=volume)

    def uploadFile(
        self,
        path: str,
        name: str,
        size: int | str,
        md5sum: Any,
        offset: int | str,
        data: str,
        volume: str | None = None,
        checksum: Any = None,
    ) -> bool:
        self._caller.login()
        return uploads.take_chunk(self._caller, path, name, int(size), checksum or md5sum, int(offset), data, volume)

    # -- acting

    def makeTask(self, method: str, arglist: list[Any], **opts: Any) -> int:
        user = self._caller.require("admin")
        return task_rules.make(self._db, user.id, method, arglist, **opts).id

    def build(
        self,
        src: str,
        target: str,
        opts: dict[str, Any] | None = None,
        priority: int | None = None,
        channel: str | None = None,
    ) -> int:
        user = self._caller.login()
        more: dict[str, Any] = {} if channel is None else {"channel": channel}
        if priority is not None:
            more["priority"] = koji.PRIO_DEFAULT + priority
        return task_rules.make(self._db, user.id, "build", [src, target, opts or {}], **more).id

    def newRepo(
        self,
        tag: Any,
        event: int | None = None,
        src: bool | None = None,
        debuginfo: bool | None = None,
        separate_src: bool | None = None,
        opts: dict[str, Any] | None = None,
    ) -> int:
        del src, debuginfo, separate_src
        user = self._caller.require("regen-repo")
        kwargs: dict[str, Any] = {}
        if event is not None:
            kwargs["event"] = event
        if opts is not None:
            kwargs["opts"] = opts
        return task_rules.make(self._db, user.id, "newRepo", [tag], kwargs=kwargs, priority=15).id

    def cancelTask(self, task_id: int, recurse: bool = True) -> None:
        task = self._mine(task_id)
        task_rules.cancel(self._db, task, recurse=recurse)

    def cancelTaskFull(self, task_id: int, strict: bool = True) -> None:
        task = self._mine(task_id)
        while task.parent is not None:
            task = self._db.task(task.parent)
        if strict and task.state in task_rules.FINAL:
            msg = f"Task {task_id} is already finished"
            raise koji.GenericError(msg)
        task_rules.cancel(self._db, task)

    def cancelTaskChildren(self, task_id: int) -> None:
        self._mine(task_id)
        for child in task_rules.children(self._db, task_id):
            task_rules.cancel(self._db, child)

    def freeTask(self, task_id: int) -> None:
        self._caller.require("admin")
        task_rules.free(self._db, self._db.task(task_id))

    def assignTask(self, task_id: int, host: str, force: bool = False, override: bool = False) -> bool:
        del override
        self._caller.require("admin")
        target = self._db.host(host)
        return task_rules.assign(self._db, self._db.task(task_id), target, force=force)

    def setTaskPriority(self, task_id: int, priority: int, recurse: bool = True) -> None:
        self._caller.require("admin")
        todo = [self._db.task(task_id)]
        while todo:
            task = todo.pop()
            task.priority = priority
            todo += task_rules.children(self._db, task.id) if recurse else []
        self._db.touch()

    def resubmitTask(self, taskID: int) -> int:
        user = self._caller.login()
        old = self._db.task(taskID)
        channel = self._db.channels[old.channel_id].name
        args = task_rules.request_of(old)
        return task_rules.make(self._db, user.id, old.method, args, arch=old.arch, channel=channel).id

    def _mine(self, task_id: int) -> Task:
        """A task the caller may cancel: its owner, its host, an admin."""
        user = self._caller.login()
        task = self._db.task(task_id)
        host = self._db.host_of_user(user.id) if user.usertype == HOST_USER else None
        if task.owner != user.id and "admin" not in user.permissions and (host is None or task.host_id != host.id):
            msg = f"Cannot cancel task, not owner: {user.name}"
            raise koji.ActionNotAllowed(msg)
        return task
