"""The rows of the stand-in's tables.

Times are seconds since the epoch; states are the integers of the contract's appendix A.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

NORMAL_USER = 0
HOST_USER = 1


@define
class Event:
    id: int
    ts: float
    user_id: int | None = None


@define
class User:
    id: int
    name: str
    password: str
    usertype: int = NORMAL_USER
    status: int = 0
    permissions: set[str] = field(factory=set)


@define
class Channel:
    id: int
    name: str
    enabled: bool = True


@define
class Host:
    id: int
    user_id: int
    name: str
    arches: str  #: separated by spaces
    capacity: float = 2.0
    channels: set[int] = field(factory=set)
    enabled: bool = True
    ready: bool = False
    task_load: float = 0.0
    update_ts: float | None = None
    data: dict[str, Any] | None = None  #: what updateHost(data=...) said: methods, maxjobs


@define
class Session:
    id: int
    key: str
    user_id: int
    start_ts: float
    update_ts: float
    master: int | None = None
    exclusive: bool = False
    expired: bool = False
    closed: bool = False
    callnum: int | None = None  #: of the last call that wrote something
    renew_ts: float | None = None


@define
class Task:
    id: int
    method: str
    request: str  #: a whole methodCall document
    owner: int
    channel_id: int
    create_ts: float
    arch: str = "noarch"
    priority: int = 20
    weight: float = 1.0
    parent: int | None = None
    label: str | None = None
    state: int = 0
    host_id: int | None = None
    waiting: bool | None = None
    awaited: bool | None = None
    start_ts: float | None = None
    completion_ts: float | None = None
    result: str | None = None  #: a whole methodResponse document


@define
class TaskRun:
    id: int
    task_id: int
    host_id: int
    create_ts: float
    active: bool = True


@define
class Refusal:
    id: int
    task_id: int
    host_id: int
    soft: bool
    by_host: bool
    msg: str
    ts: float


@define
class SchedulerMessage:
    id: int
    task_id: int | None
    host_id: int | None
    msg_ts: float
    msg: str


@define
class ExternalRepo:
    id: int
    name: str
    url: str


@define
class TagConfig:
    """A tag as it was from one event on."""

    event: int
    arches: str | None = None
    extra: dict[str, Any] = field(factory=dict)
    parents: tuple[int, ...] = ()  #: nearest first
    groups: dict[str, tuple[str, ...]] = field(factory=dict)
    externals: tuple[dict[str, Any], ...] = ()  #: external_repo_id, priority, merge_mode, arches
    blocked: frozenset[str] = frozenset()


@define
class Tag:
    id: int
    name: str
    versions: list[TagConfig]  #: oldest first
    packages: dict[int, int] = field(factory=dict)  #: package id -> owner's user id
    builds: list[tuple[int, int]] = field(factory=list)  #: (event, build id), oldest first


@define
class Target:
    id: int
    name: str
    build_tag: int
    dest_tag: int


@define
class Repo:
    id: int
    tag_id: int
    create_event: int
    begin_event: int
    creation_ts: float
    state_ts: float
    state: int = 0
    task_id: int | None = None
    end_event: int | None = None
    dist: bool = False
    opts: dict[str, bool] = field(factory=dict)
    custom_opts: dict[str, bool] = field(factory=dict)


@define
class RepoRequest:
    id: int
    tag_id: int
    owner: int
    create_ts: float
    update_ts: float
    min_event: int | None = None
    at_event: int | None = None
    opts: dict[str, Any] = field(factory=dict)
    priority: int = 20
    repo_id: int | None = None
    task_id: int | None = None
    tries: int = 0
    active: bool = True


@define
class Buildroot:
    id: int
    host_id: int
    repo_id: int
    task_id: int | None
    arch: str
    create_event: int
    state: int = 0
    retire_event: int | None = None
    components: dict[int, bool] = field(factory=dict)  #: rpm id -> was added by an update


@define
class Package:
    id: int
    name: str


@define
class Build:
    id: int
    package_id: int
    name: str
    version: str
    release: str
    epoch: int | None
    owner: int
    creation_ts: float
    creation_event: int
    start_ts: float
    state: int = 0
    task_id: int | None = None
    completion_ts: float | None = None
    source: str | None = None
    extra: dict[str, Any] | None = None
    draft: bool = False

    @property
    def nvr(self) -> str:
        return f"{self.name}-{self.version}-{self.release}"


@define
class Rpm:
    id: int
    name: str
    version: str
    release: str
    epoch: int | None
    arch: str
    size: int
    buildtime: int
    payloadhash: str
    build_id: int | None = None
    buildroot_id: int | None = None
    external_repo_id: int = 0
    sighash: str = ""

    @property
    def nvr(self) -> str:
        return f"{self.name}-{self.version}-{self.release}"

    @property
    def nvra(self) -> str:
        return f"{self.nvr}.{self.arch}"
