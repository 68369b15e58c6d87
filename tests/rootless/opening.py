"""Letting an unprivileged user see a tree that lies below a closed home, in a mount namespace of hers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

OPENING = r"""
if [ -n "$OPEN" ]; then
    mount -t tmpfs none /mnt
    number=0
    for path in $OPEN; do number=$((number + 1)); mkdir "/mnt/$number"; mount --bind "$path" "/mnt/$number"; done
    for closed in $(printf '%s\n' $OPEN | cut -d/ -f2 | sort -u); do mount -t tmpfs -o mode=755 none "/$closed"; done
    number=0
    for path in $OPEN; do number=$((number + 1)); mkdir -p "$path"; mount --bind "/mnt/$number" "$path"; done
fi
"""
"""Shell for a mount namespace: of the directories that the paths in OPEN lie in, only those are left."""


def closed_paths() -> list[str]:
    """Of what Python and this project need, what lies below a directory of / that others may not enter."""
    needed = {sys.base_prefix, str(Path(__file__).parents[2]), str(Path(sys.prefix).resolve())}
    return [path for path in sorted(needed) if not os.stat("/" + path.split("/")[1]).st_mode & 0o001]
