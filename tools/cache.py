"""Where made things are kept between runs, and podman's configuration among them.

<cache>/containers.conf   only where this host needs it (tools/hostconf.py)
<cache>/debs/             packages fetched by apt
<cache>/world/<key>/      RPM worlds
<cache>/srpms/<digest>/   samples, packed
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """KOJI_ADJUTANT_CACHE, or `koji-adjutant` in the user's cache directory."""
    override = os.environ.get("KOJI_ADJUTANT_CACHE")
    if override:
        return Path(override).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "koji-adjutant"


def containers_conf() -> Path | None:
    """The containers.conf that podman has to be given: the user's own choice, else ours, else None."""
    chosen = os.environ.get("CONTAINERS_CONF")
    if chosen:
        return Path(chosen)
    ours = cache_dir() / "containers.conf"
    return ours if ours.exists() else None


def podman_env() -> dict[str, str]:
    """What to add to the environment of a podman command."""
    conf = containers_conf()
    return {"CONTAINERS_CONF": str(conf)} if conf else {}


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name`: one maker at a time, others wait. A killed holder holds nothing."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
