"""The stand-in's tables in memory, their counters and look-ups.

One lock guards them all: the dispatcher holds it for the length of a call, the control object for the
length of a method. `changed` says that the current call wrote something; a hub remembers a call's
number only then (contract 1.4), so every write goes through `add` or `touch`.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol, TypeVar

import koji
from attrs import define, field

from . import records as r
from .clock import Clock
from .settings import Settings

__all__ = ["Database", "Key"]

#: how a client names a row
Key = int | str | dict[str, Any]


class _HasId(Protocol):
    id: int


class _HasName(Protocol):
    name: str


_Row = TypeVar("_Row", bound=_HasId)
_Named = TypeVar("_Named", bound=_HasName)


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
    principals: dict[str, str] = field(factory=dict)  #: user names by Kerberos principal
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

    def add(self, table: str, record: _Row) -> _Row:
        getattr(self, table)[record.id] = record
        self.touch()
        return record

    # -- look-ups by id, name or a dict with either: find_* may be None, the others raise

    def find_user(self, key: Key) -> r.User | None:
        return _find(self.users, key)

    def user(self, key: Key) -> r.User:
        return _need(self.users, key, "No such user: %r")

    def find_channel(self, key: Key) -> r.Channel | None:
        return _find(self.channels, key)

    def channel(self, key: Key) -> r.Channel:
        return _need(self.channels, key, "No such channel: %r")

    def find_host(self, key: Key) -> r.Host | None:
        return _find(self.hosts, key)

    def host(self, key: Key) -> r.Host:
        return _need(self.hosts, key, "Invalid hostInfo: %r")

    def host_of_user(self, user_id: int) -> r.Host | None:
        return next((host for host in self.hosts.values() if host.user_id == user_id), None)

    def find_tag(self, key: Key) -> r.Tag | None:
        return _find(self.tags, key)

    def tag(self, key: Key) -> r.Tag:
        return _need(self.tags, key, "No such tagInfo: %r")

    def find_target(self, key: Key) -> r.Target | None:
        return _find(self.targets, key)

    def target(self, key: Key) -> r.Target:
        return _need(self.targets, key, "No such build target: %r")

    def find_package(self, key: Key) -> r.Package | None:
        return _find(self.packages, key)

    def package(self, key: Key) -> r.Package:
        return _need(self.packages, key, "No such package: %r")

    def external_repo(self, key: Key) -> r.ExternalRepo:
        return _need(self.external_repos, key, "No such repo: %r")

    def find_build(self, key: Key) -> r.Build | None:
        """By id, name-version-release or a dict with id or with name, version and release."""
        if isinstance(key, dict):
            key = key["id"] if "id" in key else "{name}-{version}-{release}".format(**key)
        if isinstance(key, int):
            return self.builds.get(key)
        return next((build for build in self.builds.values() if build.nvr == key), None)

    def build(self, key: Key) -> r.Build:
        found = self.find_build(key)
        if found is None:
            msg = f"No such build: {key!r}"
            raise koji.GenericError(msg)
        return found

    def task(self, task_id: int, *, missing: str = "No such task: {}") -> r.Task:
        """`missing`: the fault's text, with {} for the id."""
        found = self.tasks.get(task_id)
        if found is None:
            raise koji.GenericError(missing.format(task_id))
        return found


def _find(table: dict[int, _Named], key: Key) -> _Named | None:
    if isinstance(key, dict):
        key = key["id"] if "id" in key else key["name"]
    if isinstance(key, int):
        return table.get(key)
    return next((row for row in table.values() if row.name == key), None)


def _need(table: dict[int, _Named], key: Key, missing: str) -> _Named:
    found = _find(table, key)
    if found is None:
        raise koji.GenericError(missing % (key,))
    return found
