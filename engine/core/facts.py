"""Everything a render needs to know from outside, as plain values (design.md section 3 "facts").

A request file for `engine render --request` is these classes as TOML or JSON:
``{method, task_id, arch, channel, params, facts}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from engine.core.manager import ContainerTimeouts, PullPolicy


@frozen(kw_only=True)
class TaskRequest:
    """What a task asks for. `params` are named, as `koji.tasks.parse_task_params` gives them."""

    method: str
    params: Mapping[str, Any] = field(factory=dict)
    task_id: int = 0
    arch: str = "noarch"
    channel: str = "default"
    owner: str = ""
    parent: int | None = None
    label: str | None = None


@frozen(kw_only=True)
class RepoFacts:
    """A Koji repo: `path` its directory on this host (or None), `url` its address; both per arch."""

    id: int = 0
    tag_id: int = 0
    tag_name: str = ""
    state: str = "READY"
    create_event: int = 0
    path: str | None = None
    url: str | None = None


@frozen(kw_only=True)
class PackageRepo:
    """A repository that packages are installed from: `path` (a host directory) or `url`."""

    name: str
    url: str | None = None
    path: str | None = None


@frozen(kw_only=True)
class ExternalRepo:
    """One row of the hub's getExternalRepoList that applies to the task's arch."""

    name: str
    url: str
    merge_mode: str = "koji"


@frozen(kw_only=True)
class TagFacts:
    """getBuildConfig of a tag at the repo's event."""

    id: int = 0
    name: str = ""
    arches: str = ""
    extra: Mapping[str, Any] = field(factory=dict)


@frozen(kw_only=True)
class NameValue:
    """A macro or variable that the tag sets, in order."""

    name: str
    value: str


@frozen(kw_only=True)
class ProbeAnswer:
    """A host path at the time facts were gathered; `size` in bytes, of a directory its entry count."""

    exists: bool = False
    size: int = 0


@frozen(kw_only=True)
class HostFacts:
    """This builder: `arch` in rpm's words, `cpus` that a build may use."""

    name: str = "builder"
    arch: str = "x86_64"
    cpus: int = 2


@frozen(kw_only=True)
class BuildrootFacts:
    """The hub's buildroot: `id` None until the hub gave one; `image` the root's image.

    The rest is set by engine.buildroot: `key` names the root's content. `requirements` True: the build requirements,
    `requires`, are installed already. `tools` is the host directory of the scripts that install into the root,
    `cache` that of the repositories' metadata.
    """

    id: int | None = None
    name: str = ""
    arch: str = ""
    image: str = ""
    key: str = ""
    requirements: bool = False
    requires: tuple[str, ...] = ()
    tools: str = ""
    cache: str = ""


@frozen(kw_only=True)
class MountRule:
    """One entry of `adjutant_container_mounts`: a host tree that recipes may mount.

    `source` host path, `target` where, `read_only`, `selinux_label` "Z", "z" or "none". Paths below it are allowed too.
    """

    source: str
    target: str
    read_only: bool = True
    selinux_label: str = "Z"


@frozen(kw_only=True)
class Limit:
    """Ceiling for one container: bytes, CPUs, processes, seconds, bytes of log. None: no ceiling."""

    memory: int | None = None
    cpus: float | None = None
    pids: int = 4096
    seconds: int = 86400
    log_bytes: int = 2 * 1024**3


@frozen(kw_only=True)
class Settings:
    """The operator's settings that shape a plan: the ceiling (names: ADR 0002)."""

    adjutant_task_image_default: str = "registry/almalinux:10"
    adjutant_image_pull_policy: PullPolicy = "if-not-present"
    adjutant_container_mounts: tuple[MountRule, ...] = (MountRule(source="/mnt/koji", target="/mnt/koji"),)
    adjutant_network_enabled: bool = True
    adjutant_container_labels: Mapping[str, str] = field(factory=dict)
    adjutant_container_timeouts: ContainerTimeouts = field(factory=ContainerTimeouts)
    worker_id: str = "local"
    workdir: str = "/var/tmp/koji-adjutant"  # noqa: S108 - a state directory, made 0700 by its adapter
    topdir: str = "/mnt/koji"
    topurl: str = ""
    limits: Limit = field(factory=Limit)
    rpmbuild_timeout: int = 86400
    packager: str = "Koji"
    vendor: str = "Koji"
    distribution: str = "Koji"
    mockhost: str = "koji-linux-gnu"
    selinux_type: str | None = None
    selinux_level: str | None = None
    variables: Mapping[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Facts:
    """All facts of one render. `inputs` overrides an input's source with a host path (local runs)."""

    settings: Settings = field(factory=Settings)
    host: HostFacts = field(factory=HostFacts)
    image: str | None = None
    repo: RepoFacts | None = None
    old_repo: RepoFacts | None = None
    build_tag: TagFacts | None = None
    external_repos: tuple[ExternalRepo, ...] = ()
    repos: tuple[PackageRepo, ...] = ()
    macros: tuple[NameValue, ...] = ()
    env: tuple[NameValue, ...] = ()
    probes: Mapping[str, ProbeAnswer] = field(factory=dict)
    inputs: Mapping[str, str] = field(factory=dict)
    buildroot: BuildrootFacts | None = None


@frozen(kw_only=True)
class RenderRequest:
    """A request file of `engine render --request`: the task and everything the render may know from outside."""

    method: str
    params: Mapping[str, Any] = field(factory=dict)
    task_id: int = 0
    arch: str = "noarch"
    channel: str = "default"
    owner: str = ""
    parent: int | None = None
    label: str | None = None
    facts: Facts = field(factory=Facts)

    @property
    def task(self) -> TaskRequest:
        """The task alone."""
        values = {name: getattr(self, name) for name in self.__annotations__ if name != "facts"}
        return TaskRequest(**values)
