"""The stand-in's tables in memory, their counters and look-ups.

One lock guards them all: the dispatcher holds it for the length of a call, the control object for the
length of a method. `changed` says that the current call wrote something; a hub remembers a call's
number only then (contract 1.4), so every write goes through `add` or `touch`.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import koji
from attrs import define, field

from . import records as r
from .clock import Clock
from .settings import Settings

__all__ = ["Database"]


def _paths(database: Database) -> koji.PathInfo:
    return koji.PathInfo(str(database.topdir))


@define(eq=False)
class Database:
    topdir: Path
    clock: Clock
    settings: Settings
    lock: threading.RLock = field(factory=threading.RLock)
    changed: bool = False
    offline: str | None = None  #: the outage text while every call is answered with ServerOffline
    last_run: float = float("-inf")  #: when the scheduler ran last
    events: list[r.Event] = field(factory=list)
    users: dict[int, r.User] = field(factory=dict)
    channels: dict[int, r.Channel] = field(factory=dict)
    hosts: dict[int, r.Host] = field(factory=dict)
    sessions: dict[int, r.Session] = field(factory=dict)
    tasks: dict[int, r.Task] = field(factory=dict)
    runs: dict[int, r.TaskRun] = field(factory=dict)
    refusals: dict[int, r.Refusal] = field(factory=dict)
    messages: dict[int, r.SchedulerMessage] = field(factory=dict)
    tags: dict[int, r.Tag] = field(factory=dict)
    targets: dict[int, r.Target] = field(factory=dict)
    external_repos: dict[int, r.ExternalRepo] = field(factory=dict)
    repos: dict[int, r.Repo] = field(factory=dict)
    repo_requests: dict[int, r.RepoRequest] = field(factory=dict)
    buildroots: dict[int, r.Buildroot] = field(factory=dict)
    packages: dict[int, r.Package] = field(factory=dict)
    builds: dict[int, r.Build] = field(factory=dict)
    rpms: dict[int, r.Rpm] = field(factory=dict)
    paths: koji.PathInfo = field(init=False)
    _next: dict[str, int] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.paths = _paths(self)

    # -- counters, events, writes

    def next_id(self, table: str) -> int:
        """A fresh id for `table` (an attribute's name, or "events")."""
        number = self._next.get(table, 1)
        self._next[table] = number + 1
        return number

    def skip_ids(self, table: str, following: int) -> None:
        """Let the next id of `table` be `following`, as if a database had burnt those in between."""
        if following < self._next.get(table, 1):
            msg = f"{table} already has id {self._next[table] - 1}, cannot continue with {following}"
            raise ValueError(msg)
        self._next[table] = following

    def touch(self) -> None:
        self.changed = True

    def new_event(self, user_id: int | None = None) -> r.Event:
        event = r.Event(self.next_id("events"), self.clock.now(), user_id)
        self.events.append(event)
        self.touch()
        return event

    def event_ts(self, event_id: int | None) -> float | None:
        for event in reversed(self.events):
            if event.id == event_id:
                return event.ts
        return None

    def add(self, table: str, record: Any) -> Any:
        getattr(self, table)[record.id] = record
        self.touch()
        return record

    # -- look-ups; a miss is None unless strict

    def user(self, key: int | str, *, strict: bool = False) -> r.User | None:
        return self._find(self.users, key, "No such user: %r", strict=strict)

    def channel(self, key: int | str, *, strict: bool = False) -> r.Channel | None:
        return self._find(self.channels, key, "Invalid type for channelInfo: %r", strict=strict)

    def host(self, key: int | str, *, strict: bool = False) -> r.Host | None:
        return self._find(self.hosts, key, "Invalid hostInfo: %r", strict=strict)

    def host_of_user(self, user_id: int) -> r.Host | None:
        return next((host for host in self.hosts.values() if host.user_id == user_id), None)

    def tag(self, key: int | str | dict[str, Any], *, strict: bool = False) -> r.Tag | None:
        return self._find(self.tags, key, "No such tagInfo: %r", strict=strict)

    def target(self, key: int | str | dict[str, Any], *, strict: bool = False) -> r.Target | None:
        return self._find(self.targets, key, "No such build target: %r", strict=strict)

    def package(self, key: int | str, *, strict: bool = False) -> r.Package | None:
        return self._find(self.packages, key, "No such package: %r", strict=strict)

    def external_repo(self, key: int | str, *, strict: bool = False) -> r.ExternalRepo | None:
        return self._find(self.external_repos, key, "No such repo: %r", strict=strict)

    def build(self, key: int | str | dict[str, Any], *, strict: bool = False) -> r.Build | None:
        if isinstance(key, dict):
            key = key["id"] if "id" in key else "{name}-{version}-{release}".format(**key)
        found = self.builds.get(key) if isinstance(key, int) else None
        if isinstance(key, str):
            found = next((build for build in self.builds.values() if build.nvr == key), None)
        if found is None and strict:
            raise koji.GenericError("No such build: %r" % (key,))  # noqa: UP031 (the hub's own spelling)
        return found

    def task(self, task_id: int, *, missing: str = "No such task: %s") -> r.Task:
        found = self.tasks.get(task_id)
        if found is None:
            raise koji.GenericError(missing % task_id if "%" in missing else missing)
        return found

    def _find(self, table: dict[int, Any], key: Any, missing: str, *, strict: bool) -> Any:
        if isinstance(key, dict):
            key = key.get("id", key.get("name"))
        found = table.get(key) if isinstance(key, int) else None
        if isinstance(key, str):
            found = next((row for row in table.values() if row.name == key), None)
        if found is None and strict:
            raise koji.GenericError(missing % (key,))
        return found
