"""This machine as facts: its name, and what its kernel lets an unprivileged user's containers be held by."""

from __future__ import annotations

import os
import platform
import resource
import socket
from pathlib import Path

from engine.adapters.rootless import id_ranges
from engine.core.facts import HostFacts
from engine.core.host import own_ids, own_pids

_CGROUPS = Path("/sys/fs/cgroup")
_KERNEL = Path("/proc/sys/kernel")


def this_host() -> HostFacts:
    """This machine. `own_ids` is set for an unprivileged user to whom no cgroup with a pids controller is given."""
    uid = os.geteuid()
    ids = 0 if uid == 0 or pids_controlled(uid) else own_ids(id_ranges(uid))
    return HostFacts(
        name=socket.gethostname() or "localhost",
        arch=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        own_ids=ids,
        own_pids=own_pids(_most_processes()) if ids else 0,
    )


def pids_controlled(uid: int, cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> bool:
    """Whether podman of the user can make cgroups that limit processes: cgroup v2, controller delegated.

    Looked for where podman does: in the user's systemd, and where this process is.
    """
    if not (cgroups / "cgroup.controllers").exists():
        return False
    places = [cgroups / f"user.slice/user-{uid}.slice/user@{uid}.service"]
    for line in _text(own).splitlines():
        if line.startswith("0::/"):
            place = cgroups / line.removeprefix("0::/")
            places += [place] if os.access(place, os.W_OK) else []
    return any("pids" in _text(place / "cgroup.controllers").split() for place in places)


def _most_processes() -> list[int]:
    """What bounds the user's processes: her own limit, the kernel's numbers and threads."""
    found = [resource.getrlimit(resource.RLIMIT_NPROC)[0]]
    found += [int(_text(_KERNEL / name) or 0) for name in ("pid_max", "threads-max")]
    return [limit for limit in found if limit > 0]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
