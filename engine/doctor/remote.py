"""What is elsewhere: the hub, its clock, the image's registry."""

from __future__ import annotations

import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Protocol

from engine.core.errors import ContainerError
from engine.core.health import CheckResult, ok, problem, warning
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
    def maxjobs(self) -> int: ...
    @property
    def minspace(self) -> int: ...


_SECONDS = 15
_CALL = b"<?xml version='1.0'?><methodCall><methodName>getAPIVersion</methodName><params/></methodCall>"


def check_hub(hub: HubAccess) -> list[CheckResult]:
    """One call without a login; its answer also tells the hub's time."""
    if not hub.server:
        return [warning("hub", "no hub is named", "set hub.server; only engine run works without")]
    try:
        context = _context(hub)
        request = urllib.request.Request(hub.server, data=_CALL, headers={"Content-Type": "text/xml"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=_SECONDS, context=context) as answer:  # noqa: S310
            text, date = answer.read(65536).decode(errors="replace"), answer.headers.get("Date")
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return [problem("hub", f"{hub.server}: {reason}", "check the address, the network and hub.serverca")]
    if "<methodResponse>" not in text:
        return [problem("hub", f"{hub.server} is not a Koji hub", "the address ends in /kojihub")]
    skew = None
    if date:
        skew = parsedate_to_datetime(date).timestamp() - time.time()
    return [ok("hub", f"{hub.server} answers"), judge_clock(skew)]


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
