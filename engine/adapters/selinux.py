"""SELinux of this host: mode, file types, and denials in the audit log. Nothing here changes anything."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

MAX_DENIALS = 50
_AUDIT_LOG = Path("/var/log/audit/audit.log")
_TAIL_BYTES = 4 * 1024 * 1024
_STAMP = re.compile(r"audit\((?P<time>[0-9]+\.[0-9]+):[0-9]+\)")


def mode(root: Path = Path("/sys/fs/selinux")) -> str:
    """``enforcing``, ``permissive``, or "" where the kernel has no SELinux or it is disabled."""
    try:
        return "enforcing" if (root / "enforce").read_text().strip() == "1" else "permissive"
    except OSError:
        return ""


def file_type(path: str) -> str | None:
    """The type of a file's label (``container_file_t``); None when it has no label or cannot be asked."""
    try:
        label = os.getxattr(path, "security.selinux").decode(errors="replace").rstrip("\0")
    except OSError:
        return None
    parts = label.split(":")
    return parts[2] if len(parts) > 2 else None


def denials(since: float, until: float, level: str | None = None) -> list[str]:
    """AVC denials of containers between two times (seconds since the epoch), oldest first, at most `MAX_DENIALS`.

    From the audit log, else the journal; none where neither may be read. `level` (``s0:c1,c2``) picks one task's.
    """
    if not mode():
        return []
    return select_denials(_lines(since, until), since, until, level)


def select_denials(lines: Iterable[str], since: float, until: float, level: str | None = None) -> list[str]:
    """Those of `lines` (as auditd or the kernel write them) that deny something to a container."""
    found = []
    for line in lines:
        if "avc:" not in line or "denied" not in line or "container_t" not in line:
            continue
        stamp = _STAMP.search(line)
        if stamp is None or not since <= float(stamp["time"]) <= until:
            continue
        if level is not None and f":container_t:{level} " not in line:
            continue
        found.append(line.strip())
        if len(found) == MAX_DENIALS:
            break
    return found


def denial_note(found: list[str]) -> str:
    """What is added to a task's log about denials; "" for none."""
    if not found:
        return ""
    more = " or more" if len(found) == MAX_DENIALS else ""
    head = f'SELinux denied {len(found)}{more} accesses of containers while this task ran (docs/host.md, "SELinux"):'
    return "\n".join([head, *found]) + "\n"


def _lines(since: float, until: float) -> Iterator[str]:
    try:
        with _AUDIT_LOG.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            yield from file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
            return
    except OSError:
        pass
    words = [
        "journalctl",
        "--quiet",
        "--no-pager",
        "--output=cat",
        f"--since=@{int(since)}",
        f"--until=@{int(until) + 1}",
    ]
    try:
        done = subprocess.run([*words, "_TRANSPORT=audit", "+", "_TRANSPORT=kernel"], capture_output=True, check=False)
    except OSError:
        return
    yield from done.stdout.decode(errors="replace").splitlines()
