"""For each field of each spec class: a value that differs from the base's. Shared by the twin and the podman test."""

from __future__ import annotations

import inspect
from typing import Any

import attrs

from engine.core import spec as spec_module
from engine.core.spec import (
    AnchorSpec,
    ContainerHandle,
    ContainerSpec,
    ResourceLimits,
    SecretMount,
    TmpfsMount,
    VolumeMount,
)

MOUNT = VolumeMount(source="/srv/source", target="/target")
TMPFS = TmpfsMount(target="/scratch", size=65536)
SECRET = SecretMount(name="keytab", target="/run/keytab")
LIMITS = ResourceLimits(nofile=1024)
BASE = ContainerSpec(
    name="adjutant-1-build",
    image="localhost/tiny:1",
    argv=("true",),
    mounts=(MOUNT,),
    tmpfs=(TMPFS,),
    secrets=(SECRET,),
    limits=LIMITS,
)
ANCHOR = AnchorSpec(name="adjutant-1-root", image="localhost/tiny:1")

# (class, field) -> another value. A field without a line here fails test_every_field_has_a_sample.
CHANGES: dict[type, dict[str, Any]] = {
    VolumeMount: {
        "source": "/srv/other",
        "target": "/elsewhere",
        "read_only": False,
        "selinux_label": "Z",
        "overlay": True,
    },
    TmpfsMount: {"target": "/elsewhere", "size": 131072, "mode": "0700"},
    SecretMount: {"name": "other", "target": "/run/other", "uid": 1000, "gid": 1000, "mode": "0440"},
    ResourceLimits: {"memory": 64_000_000, "cpus": 1.5, "pids": 77, "nofile": 2048, "shm": 1_000_000},
    ContainerSpec: {
        "name": "adjutant-1-other",
        "image": "localhost/tiny:2",
        "argv": ("sh", "-c", "echo $HOME"),
        "root": "adjutant-1-root",
        "env": {"LANG": "C.UTF-8"},
        "workdir": "/tmp",
        "hostname": "builder",
        "user_id": None,
        "group_id": 12,
        "own_ids": 65537,
        "network_disabled": True,
        "mounts": (),
        "tmpfs": (),
        "secrets": (),
        "capabilities": ("CHOWN", "SETUID"),
        "limits": ResourceLimits(nofile=1024, pids=5),
        "labels": {"io.koji.adjutant.task_id": "1"},
        "log_path": "/var/log/adjutant.log",
        "stop_timeout": 3,
        "selinux_type": "container_t",
        "selinux_level": "s0:c1,c2",
    },
    AnchorSpec: {
        "name": "adjutant-2-root",
        "image": "localhost/tiny:2",
        "labels": {"io.koji.adjutant.role": "anchor"},
        "selinux_type": "container_t",
        "selinux_level": "s0:c1,c2",
    },
}

_NOT_SENT = {ContainerHandle}  # a container that exists, not a description of one


def spec_classes() -> list[type]:
    """Every class of `engine.core.spec` that describes something for podman."""
    members = (value for _, value in inspect.getmembers(spec_module, inspect.isclass))
    return [
        value
        for value in members
        if attrs.has(value) and value.__module__ == spec_module.__name__ and value not in _NOT_SENT
    ]


def fields() -> list[tuple[type, str]]:
    return [(cls, field.name) for cls in spec_classes() for field in attrs.fields(cls)]


def changed(cls: type, field: str) -> ContainerSpec | AnchorSpec:
    """The base with this one field changed, wherever it sits."""
    change = {field: CHANGES[cls][field]}
    if cls is ContainerSpec:
        return attrs.evolve(BASE, **change)
    if cls is AnchorSpec:
        return attrs.evolve(ANCHOR, **change)
    if cls is ResourceLimits:
        return attrs.evolve(BASE, limits=attrs.evolve(LIMITS, **change))
    name, part = {
        VolumeMount: ("mounts", MOUNT),
        TmpfsMount: ("tmpfs", TMPFS),
        SecretMount: ("secrets", SECRET),
    }[cls]
    return attrs.evolve(BASE, **{name: (attrs.evolve(part, **change),)})
