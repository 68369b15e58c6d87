"""Who gets which free task, and what happens to hosts that stay silent (contract 2.9, as observed)."""

from __future__ import annotations

from . import repo_rules, task_rules
from .database import Database
from .records import Host, SchedulerMessage, Task, TaskRun
from .task_rules import ASSIGNED, FREE, OPEN

__all__ = ["assigned_to", "log", "run"]


def log(db: Database, msg: str, *, task: Task | None = None, host: Host | None = None) -> None:
    db.add(
        "messages",
        SchedulerMessage(
            id=db.next_id("messages"),
            task_id=None if task is None else task.id,
            host_id=None if host is None else host.id,
            msg_ts=db.clock.now(),
            msg=msg,
        ),
    )


def assigned_to(db: Database, host: Host) -> list[Task]:
    """Tasks assigned to `host` but not opened, most urgent first."""
    mine = [task for task in db.tasks.values() if task.state == ASSIGNED and task.host_id == host.id]
    return sorted(mine, key=lambda task: (task.priority, task.create_ts))


def run(db: Database, *, force: bool = False) -> bool:
    """One scheduler run; False when the last one was less than `run_interval` ago."""
    now = db.clock.now()
    if not force and now - db.last_run < db.settings.run_interval:
        return False
    db.last_run = now
    db.touch()
    if db.settings.repo_auto:
        repo_rules.serve_queue(db)
    _check_hosts(db)
    _check_runs(db)
    _expire_refusals(db)
    _assign(db)
    return True


def _silence(db: Database, host: Host) -> float:
    """Seconds since the host's last updateHost."""
    return float("inf") if host.update_ts is None else db.clock.now() - host.update_ts


def _check_hosts(db: Database) -> None:
    for host in db.hosts.values():
        if host.ready and _silence(db, host) > db.settings.ready_timeout:
            host.ready = False
            log(db, "Marking host not ready", host=host)


def _check_runs(db: Database) -> None:
    """Free what was assigned but not opened in time, and what silent hosts have open.

    Tasks without a run entry (made with assign=) and those of disabled hosts are left alone.
    """
    for entry in [each for each in db.runs.values() if each.active]:
        task, host = db.tasks[entry.task_id], db.hosts[entry.host_id]
        if not host.enabled:
            continue
        if task.state == ASSIGNED and db.clock.now() - entry.create_ts > db.settings.assign_timeout:
            if host.update_ts is not None and host.update_ts > entry.create_ts:
                task_rules.refuse(db, task, host, soft=True, msg="assignment timeout", by_host=False)
                log(db, "Host refused task: assignment timeout", task=task, host=host)
            log(db, "Task assignment timeout", task=task, host=host)
            task_rules.free(db, task)
        elif task.state == OPEN and _silence(db, host) > db.settings.host_timeout:
            log(db, "Freeing task from unresponsive host", task=task, host=host)
            task_rules.free(db, task)


def _expire_refusals(db: Database) -> None:
    limit = db.clock.now() - db.settings.soft_refusal_timeout
    for key, refusal in list(db.refusals.items()):
        if refusal.soft and refusal.ts < limit:
            del db.refusals[key]


def _assign(db: Database) -> None:
    free = [task for task in db.tasks.values() if task.state == FREE]
    free.sort(key=lambda task: (task.priority, task.create_ts))
    demand = {host.id: sum(_fits(db, task, host) for task in free) for host in db.hosts.values()}
    for task in free:
        refused = {each.host_id for each in db.refusals.values() if each.task_id == task.id}
        able = [
            host
            for host in db.hosts.values()
            if host.id not in refused and _fits(db, task, host) and _has_room(db, task, host)
        ]
        if not able:
            continue
        host = min(able, key=lambda each: (_load(db, each) + _jobs(db, each) + demand[each.id], each.id))
        task.state, task.host_id = ASSIGNED, host.id
        db.add("runs", TaskRun(db.next_id("runs"), task.id, host.id, db.clock.now()))
        log(db, "Assigning task", task=task, host=host)


def _fits(db: Database, task: Task, host: Host) -> bool:
    """Enabled, ready, in the task's channel and of its literal arch."""
    return (
        host.enabled
        and host.ready
        and task.channel_id in host.channels
        and db.channels[task.channel_id].enabled
        and (task.arch == "noarch" or task.arch in host.arches.split())
    )


def _has_room(db: Database, task: Task, host: Host) -> bool:
    limit = (host.data or {}).get("maxjobs", db.settings.max_jobs)
    spare = host.capacity - _load(db, host)
    return _jobs(db, host) < limit and spare > max(0.0, task.weight - db.settings.capacity_overcommit)


def _load(db: Database, host: Host) -> float:
    return sum(task.weight for task in _taken(db, host) if not task.waiting)


def _jobs(db: Database, host: Host) -> int:
    return len(_taken(db, host))


def _taken(db: Database, host: Host) -> list[Task]:
    return [task for task in db.tasks.values() if task.host_id == host.id and task.state in (OPEN, ASSIGNED)]
