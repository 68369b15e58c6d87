"""What an unprivileged user's containers stand on: subordinate ids of the user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

FILES = ("subuid", "subgid")


def id_ranges(uid: int, etc: Path | None = None) -> Mapping[str, int]:
    """How many subordinate ids the user has, by kind: of the source that nsswitch.conf names, as ``getsubids`` (uidmap,
    shadow-utils-subid) tells it; of the files below /etc where that knows none. With `etc`: of the files there only.
    """
    names = {str(uid)}
    name = ""
    with suppress(KeyError):
        names.add(name := pwd.getpwuid(uid).pw_name)
    told = {kind: 0 if etc or not name else _told(kind, name) for kind in FILES}
    return {kind: told[kind] or _count((etc or Path("/etc")) / kind, names) for kind in FILES}


def _told(kind: str, name: str) -> int:
    """What ``getsubids`` counts, a line ``NUMBER: NAME START COUNT`` for each range; 0: not there, or none."""
    words = ["getsubids", *(["-g"] if kind == "subgid" else []), name]
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    counts = [line.split()[-1] for line in done.stdout.splitlines() if len(line.split()) == 4]
    return sum(int(count) for count in counts if count.isdigit())


def mapped_ids(info: Mapping[str, Any]) -> Mapping[str, int] | None:
    """How many ids podman maps into containers, by kind (``uid``, ``gid``), of ``podman info``; None: it does not say.

    These hold, wherever they came from: files, or a source of nss.
    """
    found = (info.get("host") or {}).get("idMappings") or {}
    maps = {kind: found.get(f"{kind}map") for kind in ("uid", "gid")}
    if not all(maps.values()):
        return None
    return {kind: sum(int(entry.get("size") or 0) for entry in entries) for kind, entries in maps.items() if entries}


def missing_programs() -> list[str]:
    """Of the two setuid programs that map subordinate ids, those that are not there."""
    return [name for name in ("newuidmap", "newgidmap") if shutil.which(name) is None]


def _count(path: Path, names: set[str]) -> int:
    total = 0
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.strip().split(":")
            if len(words) == 3 and words[0] in names and words[2].isdigit():
                total += int(words[2])
    return total


def rootless() -> bool:
    """True when containers are an unprivileged user's."""
    return os.geteuid() != 0
