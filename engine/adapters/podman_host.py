"""The containers.conf that podman needs on this host, where it cannot work with its own defaults.

A machine with systemd, cgroup v2 and ordinary limits needs nothing. What the user configured always wins: ours is
used only for a private service, and only where no containers.conf exists besides the distribution's.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

# What podman asks for as root when nothing else is said; without CAP_SYS_RESOURCE no process gets more than
# its own hard limit, and podman starts its monitor with at most pid_max processes.
ROOT_DEFAULT_NOFILE = 1048576

ETC = Path("/etc/containers")
_OWN = ("containers*.conf", "containers*.d/*.conf", "containers*.d/*/*.conf")
"""What podman reads besides the distribution's; later versions also files for rootless podman and for one user's."""


@frozen
class Host:
    """What decides podman's configuration. `nofile` is a hard limit, -1 for none; `nproc` never is."""

    systemd: bool
    cgroup2: bool
    runc: bool
    nofile: int
    nproc: int


def needed_conf(environ: Mapping[str, str], etc: Path = ETC) -> str | None:
    """The text to give a private service as CONTAINERS_CONF, or None: not needed, or the user has one.

    podman reads no other file besides the one that CONTAINERS_CONF names, no drop-in either.
    """
    home = environ.get("XDG_CONFIG_HOME") or os.path.join(environ.get("HOME", "/nonexistent"), ".config")
    places = (etc, Path(home, "containers"))
    if "CONTAINERS_CONF" in environ or any(next(place.glob(name), None) for place in places for name in _OWN):
        return None
    return containers_conf(this_host())


def this_host() -> Host:
    """Look at the machine we run on."""
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    return Host(
        systemd=Path("/run/systemd/system").is_dir(),
        cgroup2=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        runc=shutil.which("runc") is not None,
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        nproc=min(limit for limit in (resource.getrlimit(resource.RLIMIT_NPROC)[1], pid_max) if limit > 0),
    )


def containers_conf(host: Host) -> str | None:
    """The text of containers.conf, or None where podman's defaults are right."""
    engine, containers = [], []
    if not host.cgroup2 and host.runc:
        engine.append('runtime = "runc"  # crun refuses cgroup v1')
    if not host.systemd:
        engine += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    if 0 <= host.nofile < ROOT_DEFAULT_NOFILE:
        limits = [f"{name}={value}:{value}" for name, value in (("nofile", host.nofile), ("nproc", host.nproc))]
        containers.append(f"default_ulimits = {json.dumps(limits)}")
    text = "".join(
        "\n".join([f"[{table}]", *lines]) + "\n"
        for table, lines in (("engine", engine), ("containers", containers))
        if lines
    )
    return text or None
