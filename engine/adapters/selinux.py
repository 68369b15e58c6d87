"""SELinux of this host: mode, file types, and denials in the audit log. Nothing here changes anything."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

MAX_DENIALS = 50
CONTAINER_TYPE = "container_t"
"""The type of a container's processes where nobody names another."""
AUDIT_LOG = Path("/var/log/audit/audit.log")
_TAIL_BYTES = 4 * 1024 * 1024
_STAMP = re.compile(r"audit\((?P<time>[0-9]+\.[0-9]+):[0-9]+\)|^(?P<heard>[0-9]+\.[0-9]+) ")
"""When it was: in the kernel's own words, or before the line, for the journal keeps that apart from what audit says."""
_AVC = 1400
"""The kernel's number for a decision of SELinux."""


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


def denials(since: float, until: float, level: str | None = None, type_: str | None = None) -> list[str]:
    """AVC denials of containers between two times (seconds since the epoch), oldest first, at most `MAX_DENIALS`.

    From the audit log, and from the journal where that has none; none where neither may be read. `level`
    (``s0:c1,c2``) picks one task's, `type_` is the type its processes have, None: `CONTAINER_TYPE`.
    """
    if not mode():
        return []
    found = select_denials(audit_lines(), since, until, level, type_)
    return found or once(select_denials(journal_lines(since, until), since, until, level, type_))


def once(found: list[str]) -> list[str]:
    """Without the kernel's copies: the journal of a host without auditd may have each denial twice."""
    return [line for line in found if " kernel: " not in line.partition("avc:")[0]] or found


def select_denials(
    lines: Iterable[str], since: float, until: float, level: str | None = None, type_: str | None = None
) -> list[str]:
    """Those of `lines` (as auditd, the kernel or `journal_lines` write them) that deny something to a container."""
    subject = f":{type_ or CONTAINER_TYPE}:{level or ''}"
    subject += " " if level else ""
    found = []
    for line in lines:
        if "avc:" not in line or "denied" not in line or subject not in line.partition("tcontext=")[0]:
            continue
        stamp = _STAMP.search(line)
        if stamp is None or not since <= float(stamp["time"] or stamp["heard"]) <= until:
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


def audit_lines(path: Path = AUDIT_LOG) -> Iterator[str]:
    """The last lines of auditd's file; none where there is none or it may not be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            yield from file.read(_TAIL_BYTES).decode(errors="replace").splitlines()
    except OSError:
        return


def journal_lines(since: float, until: float, program: str = "journalctl", patience: float = 30.0) -> Iterator[str]:
    """The journal's lines of the kernel, and of audit about SELinux, between two times (seconds since the epoch).

    Each begins with its time. None when there is no journal, or it does not answer within `patience` seconds.
    """
    when = [f"--since=@{int(since)}", f"--until=@{int(until) + 1}"]
    what = ["_TRANSPORT=audit", f"_AUDIT_TYPE={_AVC}", "+", "_TRANSPORT=kernel"]
    words = [program, "--quiet", "--no-pager", "--output=short-unix", *when, *what]
    try:
        done = subprocess.run(words, capture_output=True, check=False, timeout=patience)
    except (OSError, subprocess.TimeoutExpired):
        return
    yield from done.stdout.decode(errors="replace").splitlines()
