"""What an unprivileged user's containers stand on: subordinate ids of the user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

FILES = ("subuid", "subgid")


def id_ranges(uid: int, etc: Path = Path("/etc")) -> Mapping[str, int]:
    """How many subordinate ids the user has, by file; ranges from nss sources are not seen."""
    names = {str(uid)}
    with suppress(KeyError):
        names.add(pwd.getpwuid(uid).pw_name)
    return {name: _count(etc / name, names) for name in FILES}


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
