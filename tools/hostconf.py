"""The containers.conf that podman needs on this host, where it cannot work with its own defaults.

`python -m tools.hostconf FILE` writes FILE, or removes it where the defaults are right. A machine with systemd,
cgroup v2 and ordinary limits needs nothing.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

# What podman asks for as root when nothing else is said; without CAP_SYS_RESOURCE no process gets more than
# its own hard limit, and podman starts its monitor with at most pid_max processes.
ROOT_DEFAULT_NOFILE = 1048576


@dataclass(frozen=True)
class Host:
    """What decides podman's configuration. `nofile` is a hard limit, -1 for none; `nproc` never is."""

    systemd: bool
    cgroup2: bool
    runc: bool
    nofile: int
    nproc: int


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


def write(target: Path, host: Host) -> None:
    """Write `target`, or remove it where `host` needs none."""
    text = containers_conf(host)
    if text is None:
        target.unlink(missing_ok=True)
    elif not target.exists() or target.read_text() != text:
        target.parent.mkdir(parents=True, exist_ok=True)
        arriving = target.with_suffix(".new")
        arriving.write_text(text)
        arriving.rename(target)


if __name__ == "__main__":
    write(Path(sys.argv[1]), this_host())
