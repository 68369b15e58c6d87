"""What the worker logs in with: files that are there, readable for this user, and for nobody else."""

from __future__ import annotations

import os
import stat

from engine.core.health import CheckResult, ok, problem, warning
from engine.doctor.remote import HubAccess


def check_credentials(hub: HubAccess) -> list[CheckResult]:
    """The one that the worker would take, in its order (docs/worker.md, "Logging in"); [] where no hub is named."""
    if not hub.server:
        return []
    if hub.cert:
        return [_private("hub.cert", hub.cert, "or take hub.cert out, to log in otherwise")]
    if hub.user:
        return [ok("hub.user", f"logs in as {hub.user} by password")]
    kind, colon, rest = hub.keytab.partition(":")
    if not colon or "/" in kind:
        return [_private("hub.keytab", hub.keytab, "or set hub.cert or hub.user")]
    if kind == "FILE":
        return [_private("hub.keytab", rest, "or set hub.cert or hub.user")]
    return [ok("hub.keytab", f"{hub.keytab} is no file")]


def _private(key: str, path: str, otherwise: str) -> CheckResult:
    uid = os.geteuid()
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        cure = f"put it there, readable for uid {uid} only, {otherwise}"
        return problem(key, f"cannot read {path}: {error.strerror}", cure)
    if not stat.S_ISREG(mode):
        return problem(key, f"{path} is no file", f"name a file, {otherwise}")
    if mode & 0o077:
        return warning(key, f"{path} is open to others ({mode & 0o777:04o})", f"chmod 0400 {path}")
    return ok(key, path)
