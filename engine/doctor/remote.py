"""What is elsewhere: the hub, its clock, the image's registry."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol

from engine.core.errors import ContainerError
from engine.core.health import CheckResult, ok, problem, unknown, warning
from engine.core.host import judge_clock
from engine.core.images import parse_reference
from engine.core.registry import judge_transfer


class HubAccess(Protocol):
    """The part of the settings' `hub` that checks need; names are kojid.conf's."""

    @property
    def server(self) -> str: ...
    @property
    def serverca(self) -> str | None: ...
    @property
    def no_ssl_verify(self) -> bool: ...
    @property
    def cert(self) -> str | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def keytab(self) -> str: ...
    @property
    def maxjobs(self) -> int: ...
    @property
    def minspace(self) -> int: ...


_SECONDS = 15
_CALL = b"<?xml version='1.0'?><methodCall><methodName>getAPIVersion</methodName><params/></methodCall>"


def check_hub(hub: HubAccess) -> list[CheckResult]:
    """One call without a login; its answer also tells the hub's time."""
    if not hub.server:
        cure = "set hub.server; only engine run works without"
        return [warning("hub", "no hub is named", cure), judge_clock(None)]
    try:
        context = _context(hub)
    except (OSError, ValueError) as error:
        found = f"{hub.serverca}: {error.strerror if isinstance(error, OSError) else error}"
        bad = problem("hub.serverca", found, "put the authority's certificates there (PEM), readable for this user")
        why = "not asked: hub.serverca cannot be used"
        return [bad, unknown("hub", why), unknown("clock", why)]
    try:
        request = urllib.request.Request(hub.server, data=_CALL, headers={"Content-Type": "text/xml"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_SECONDS, context=context) as answer:  # noqa: S310
            text, date = answer.read(65536).decode(errors="replace"), answer.headers.get("Date")
    except http.client.HTTPException as error:
        words = f"{hub.server} does not speak HTTP ({type(error).__name__}: {str(error).strip()[:100]})"
        return [problem("hub", words, "check address and port"), judge_clock(None)]
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        cure = "check the address, the network and hub.serverca"
        return [problem("hub", f"{hub.server}: {reason}", cure), judge_clock(None)]
    if "<methodResponse>" not in text:
        cure = "the address ends in /kojihub"
        return [problem("hub", f"{hub.server} is not a Koji hub", cure), judge_clock(None)]
    return [ok("hub", f"{hub.server} answers"), judge_clock(_skew(date))]


def _skew(date: str | None) -> float | None:
    """The hub's clock minus ours by its answer's Date (whole seconds); None when it has none that can be read."""
    try:
        moment = parsedate_to_datetime(date or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def _context(hub: HubAccess) -> ssl.SSLContext | None:
    if not hub.server.startswith("https:"):
        return None
    context = ssl.create_default_context(cafile=hub.serverca)
    if hub.no_ssl_verify and not hub.serverca:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def check_registry(image: str, *, present: bool, policy: str, environ: Mapping[str, str] | None = None) -> CheckResult:
    """Can the image's manifest be read from its registry with the login that podman has?

    With the image here and no need to ask (`policy`), a fault is a warning.
    """
    try:
        reference = parse_reference(image)
    except ValueError as error:
        return problem("registry", str(error), "correct adjutant_task_image_default")
    if reference.short:
        return problem("registry", f"'{image}' names no registry", "registry.example.org/name:tag")
    if policy == "never" or reference.host == "localhost":
        return ok("registry", f"none is asked for {image}")
    words = ["podman", "manifest", "inspect", image]
    try:
        done = subprocess.run(
            words, env=environ, capture_output=True, text=True, errors="replace", check=False, timeout=_SECONDS * 2
        )
        # podman 4 reads a plain manifest and then does not know what to do with it: it was there.
        read = done.returncode == 0 or "Treating single images as manifest lists" in done.stderr
        fault = None if read else judge_transfer(done.stderr)
    except subprocess.TimeoutExpired:
        fault = judge_transfer("i/o timeout")
    except OSError as error:
        raise ContainerError("run", "podman", str(error), cure="install podman") from None
    if fault is None:
        return ok("registry", f"{reference.host} has {image}")
    level = warning if present and policy == "if-not-present" else problem
    return level("registry", f"{reference.host}: {fault.why}", fault.cure)
