"""Fully resolved values: what podman is asked to do. Every field reaches podman.

The twin test changes each field of each class here and requires both the printed command line and
the API body (`engine.core.podman_form`) to change, so a field that podman never sees cannot exist.
What holds for every container (`--init`, no-new-privileges, all capabilities dropped, no proxy
variables, no image entrypoint, private namespaces) is written by the form, not carried as a field: nothing can
switch it off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

LABEL_TASK_ID = "io.koji.adjutant.task_id"
LABEL_WORKER_ID = "io.koji.adjutant.worker_id"
LABEL_ROLE = "io.koji.adjutant.role"

SelinuxLabel = Literal["Z", "z"]


@frozen(kw_only=True)
class VolumeMount:
    """A bind mount. `selinux_label` "Z" private, "z" shared, None unlabelled (ADR "SELinux").

    `source` is an absolute host path, or ``root:NAME`` for the file system of the anchor container
    NAME (only installing steps may have it, at /target; design.md section 8).
    `overlay` gives the container a private writable view that is thrown away with it.
    """

    source: str
    target: str
    read_only: bool = True
    selinux_label: SelinuxLabel | None = None
    overlay: bool = False


@frozen(kw_only=True)
class TmpfsMount:
    """A memory file system: `size` in bytes, `mode` the octal text, e.g. ``"1777"``."""

    target: str
    size: int
    mode: str = "1777"


@frozen(kw_only=True)
class SecretMount:
    """An operator's secret as a file: podman secret `name` at `target`, owner and octal mode text."""

    name: str
    target: str
    uid: int = 0
    gid: int = 0
    mode: str = "0400"


@frozen(kw_only=True)
class ResourceLimits:
    """ADR "Process Isolation": `memory` bytes, `cpus` a number of CPUs, `pids` tasks. None: no limit.

    `pids` always has a value: an unlimited container can take the host's process table.
    `nofile` is the open-files limit (soft = hard); None leaves podman's own default, see podman-facts:
    setting any ulimit drops the others, so the form repeats nproc with it.
    `shm` is the size of /dev/shm in bytes.
    """

    memory: int | None = None
    cpus: float | None = None
    pids: int = 4096
    nofile: int | None = None
    shm: int | None = None


@frozen(kw_only=True)
class ContainerSpec:
    """One container, fully resolved.

    `image` is the image reference; with `root` set, the container instead runs on the file system
    of the anchor container named `root`, and `image` says what that anchor was made from.
    `user_id` and `group_id` None mean root (ADR "UID/GID Strategy").
    `network_disabled` True: no network at all; False: podman's default private network
    (bridge, or slirp4netns/pasta rootless).
    `own_ids` is for hosts whose cgroups bind nothing: the container gets a user namespace of its own with that many
    ids, each mapped to itself, so that no file changes its owner. There the kernel counts RLIMIT_NPROC for this
    container alone, and `limits.pids` is given as that, too; and it is the first to go when the host's memory ends.
    `capabilities` are added after all were dropped. `log_path` is the host file that conmon writes
    (k8s-file). `stop_timeout` seconds between SIGTERM and SIGKILL (`stop_grace`).
    `selinux_type` and `selinux_level` become ``label=type:`` and ``label=level:``.
    """

    name: str
    image: str
    argv: tuple[str, ...]
    root: str | None = None
    env: Mapping[str, str] = field(factory=dict)
    workdir: str = "/"
    hostname: str = "adjutant"
    user_id: int | None = 1000
    group_id: int | None = 1000
    own_ids: int | None = None
    network_disabled: bool = False
    mounts: tuple[VolumeMount, ...] = ()
    tmpfs: tuple[TmpfsMount, ...] = ()
    secrets: tuple[SecretMount, ...] = ()
    capabilities: tuple[str, ...] = ()
    limits: ResourceLimits = field(factory=ResourceLimits)
    labels: Mapping[str, str] = field(factory=dict)
    log_path: str | None = None
    stop_timeout: int = 20
    selinux_type: str | None = None
    selinux_level: str | None = None


@frozen(kw_only=True)
class AnchorSpec:
    """A container that is created and never started: it holds the task's root file system.

    Its steps run on that root one after the other; removing it removes the root. Its SELinux type and level
    are those of the steps, else they could not read it.
    """

    name: str
    image: str
    labels: Mapping[str, str] = field(factory=dict)
    selinux_type: str | None = None
    selinux_level: str | None = None


@frozen(kw_only=True)
class ContainerHandle:
    """A container that exists. `id` is podman's; `name` ours (the key for finding it again)."""

    id: str
    name: str
