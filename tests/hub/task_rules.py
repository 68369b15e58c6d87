"""The life of a task: made, assigned, opened, ended, freed, refused, cancelled (contract 2, appendix B)."""

from __future__ import annotations

import contextlib
from typing import Any

import koji
from koji.xmlrpcplus import Fault, dumps, loads

from .clock import as_text
from .database import Database
from .records import Host, Refusal, Task, TaskRun

FREE, OPEN, CLOSED, CANCELED, ASSIGNED, FAILED = (
    koji.TASK_STATES[name] for name in ("FREE", "OPEN", "CLOSED", "CANCELED", "ASSIGNED", "FAILED")
)
FINAL = (CLOSED, CANCELED, FAILED)
#: methods whose tasks go to the createrepo channel by default policy
_REPO_METHODS = {"newRepo", "createrepo", "distRepo", "createdistrepo"}


# -- rows


def as_row(task: Task) -> dict[str, Any]:
    """What getTaskInfo says without the request."""
    return {
        "arch": task.arch,
        "awaited": task.awaited,
        "channel_id": task.channel_id,
        "completion_time": as_text(task.completion_ts),
        "completion_ts": task.completion_ts,
        "create_time": as_text(task.create_ts),
        "create_ts": task.create_ts,
        "host_id": task.host_id,
        "id": task.id,
        "label": task.label,
        "method": task.method,
        "owner": task.owner,
        "parent": task.parent,
        "priority": task.priority,
        "start_time": as_text(task.start_ts),
        "start_ts": task.start_ts,
        "state": task.state,
        "waiting": task.waiting,
        "weight": task.weight,
    }


def as_offer(task: Task) -> dict[str, Any]:
    """What host.getTasks says of a task."""
    fields = ("arch", "channel_id", "create_ts", "host_id", "id", "method", "priority", "state")
    return {name: getattr(task, name) for name in fields}


def request_of(task: Task) -> list[Any]:
    """The decoded request, keyword arguments still a dict with `__starstar`."""
    params, _method = loads(task.request)
    return list(params)


def result_of(task: Task, *, raise_fault: bool = True) -> Any:
    """A finished task's value; its Fault, or GenericError for one cancelled or unfinished."""
    if task.state == CANCELED:
        msg = f"Task {task.id} is canceled"
        raise koji.GenericError(msg)
    if task.state not in FINAL or task.result is None:
        msg = f"Task {task.id} is not finished"
        raise koji.GenericError(msg)
    try:
        values, _method = loads(task.result)
    except Fault as fault:
        if raise_fault:
            raise
        return {"faultCode": fault.faultCode, "faultString": fault.faultString}
    return values[0]


# -- making


def make(db: Database, owner: int, method: str, arglist: list[Any], **opts: Any) -> Task:
    """A new task; with (parent, label) of an existing one, that one (contract 2.6).

    opts: label, parent, arch, channel, priority, kwargs, assign, weight.
    """
    unknown = set(opts) - {"label", "parent", "arch", "channel", "priority", "kwargs", "assign", "weight"}
    if unknown:
        msg = f"Invalid task option: {', '.join(sorted(unknown))}"
        raise koji.GenericError(msg)
    parent = db.task(opts["parent"]) if opts.get("parent") is not None else None
    label = opts.get("label")
    if parent is not None and label is not None:
        for task in db.tasks.values():
            if task.parent == parent.id and task.label == label:
                return task
    args = koji.encode_args(*arglist, **(opts.get("kwargs") or {}))
    host = db.host(opts["assign"]) if opts.get("assign") is not None else None
    priority = opts.get("priority")
    if priority is None:
        priority = koji.PRIO_DEFAULT if parent is None else parent.priority - 1
    task = Task(
        id=db.next_id("tasks"),
        method=method,
        request=dumps(tuple(args), methodname=method),
        owner=owner if parent is None else parent.owner,
        channel_id=_channel(db, method, opts.get("channel"), parent),
        create_ts=db.clock.now(),
        arch=opts.get("arch") or ("noarch" if parent is None else parent.arch),
        priority=priority,
        weight=float(opts.get("weight") or 1.0),
        parent=None if parent is None else parent.id,
        label=label,
    )
    if host is not None:
        task.state, task.host_id = ASSIGNED, host.id
    db.add("tasks", task)
    return task


def _channel(db: Database, method: str, wanted: str | int | None, parent: Task | None) -> int:
    if wanted is not None:
        return db.channel(wanted).id
    if parent is not None:
        return parent.channel_id
    special = db.find_channel("createrepo") if method in _REPO_METHODS else None
    return (special or db.channel("default")).id


# -- the host's side


def owned(db: Database, task_id: int, host: Host) -> Task:
    """The task, which must be OPEN and of `host`; else ActionNotAllowed with the text people grep for."""
    task = db.task(task_id)
    if not is_owned(task, host):
        msg = f"host {host.id} does not own task {task_id}"
        raise koji.ActionNotAllowed(msg)
    return task


def is_owned(task: Task, host: Host) -> bool:
    return task.state == OPEN and task.host_id == host.id


def open_task(db: Database, task: Task, host: Host) -> bool:
    """Open a task assigned to `host` or free; False for any other."""
    if task.state != FREE and not (task.state == ASSIGNED and task.host_id == host.id):
        return False
    task.state, task.host_id, task.start_ts = OPEN, host.id, db.clock.now()
    db.touch()
    return True


def end(db: Database, task: Task, state: int, response: str) -> None:
    """Close or fail an open task; a result nobody could read is the fault of who sent it."""
    with contextlib.suppress(Fault):
        loads(response)
    task.state, task.result, task.completion_ts = state, response, db.clock.now()
    end_runs(db, task)
    db.touch()


def free(db: Database, task: Task) -> None:
    """Back to FREE, for any host; GenericError for a finished task."""
    if task.state in FINAL:
        msg = f"Cannot free task {task.id}, state is {koji.TASK_STATES[task.state]}"
        raise koji.GenericError(msg)
    task.state, task.host_id = FREE, None
    end_runs(db, task)
    db.touch()


def assign(db: Database, task: Task, host: Host, *, force: bool = False) -> bool:
    """Assign by an admin; only a free task unless forced."""
    if task.state in FINAL or (task.state != FREE and not force):
        return False
    end_runs(db, task)
    task.state, task.host_id = ASSIGNED, host.id
    db.add("runs", TaskRun(db.next_id("runs"), task.id, host.id, db.clock.now()))
    return True


def refuse(db: Database, task: Task, host: Host, *, soft: bool, msg: str, by_host: bool) -> None:
    """Note that `host` does not want the task; the caller frees it."""
    for key, each in list(db.refusals.items()):
        if each.task_id == task.id and each.host_id == host.id:
            del db.refusals[key]
    number = db.next_id("refusals")
    db.add("refusals", Refusal(number, task.id, host.id, soft, by_host, msg, db.clock.now()))


def end_runs(db: Database, task: Task) -> None:
    for run in db.runs.values():
        if run.task_id == task.id:
            run.active = False


# -- families


def children(db: Database, task_id: int) -> list[Task]:
    return [task for task in db.tasks.values() if task.parent == task_id]


def cancel(db: Database, task: Task, *, recurse: bool = True) -> bool:
    """Cancel an unfinished task with its children and its build; False when it had ended."""
    if task.state == CANCELED:
        return True
    if task.state in FINAL:
        return False
    task.state, task.completion_ts = CANCELED, db.clock.now()
    end_runs(db, task)
    for build in db.builds.values():
        if build.task_id == task.id and build.state == koji.BUILD_STATES["BUILDING"]:
            build.state, build.completion_ts = koji.BUILD_STATES["CANCELED"], db.clock.now()
    db.touch()
    if recurse:
        for child in children(db, task.id):
            cancel(db, child)
    return True


def set_wait(db: Database, parent: Task, awaited: list[int] | None) -> None:
    """The parent waits for these children, or for all of them."""
    parent.waiting = True
    for child in children(db, parent.id):
        if awaited is None or child.id in awaited:
            child.awaited = True
        else:
            child.awaited = False
    db.touch()


def stop_waiting(db: Database, parent: Task) -> None:
    parent.waiting = False
    for child in children(db, parent.id):
        child.awaited = False
    db.touch()


def awaited_children(db: Database, parent: int) -> tuple[list[int], list[int]]:
    """(finished, unfinished) ids of the children awaited."""
    awaited = [task for task in children(db, parent) if task.awaited]
    finished = [task.id for task in awaited if task.state in FINAL]
    return finished, [task.id for task in awaited if task.state not in FINAL]


def needs_alert(db: Database, task: Task) -> bool:
    """Whether a waiting task has an awaited child that ended."""
    return bool(task.waiting and awaited_children(db, task.id)[0])
