"""Images present by policy (ADR "Container Image Lifecycle")."""

from __future__ import annotations

import logging
import time
from typing import Any

from engine.adapters.podman_api import PodmanApi, Refused, ServiceSlow, quoted
from engine.core.errors import ContainerError
from engine.core.manager import ImageInfo, PullPolicy

logger = logging.getLogger(__name__)

RETRY_PAUSES = (1.0, 4.0)
"""Seconds before the second and third attempt to pull, after a failure of the transport."""

_WHAT = "pull image"

# Texts of registries and podman that another attempt cannot change: (text, cure).
_FINAL: tuple[tuple[str, str], ...] = (
    ("unauthorized", "log in with `podman login` as the user the worker runs as"),
    ("authentication required", "log in with `podman login` as the user the worker runs as"),
    ("denied", "check the name and the rights of the login"),
    ("manifest unknown", "the registry has no such tag; correct the image name"),
    ("name unknown", "the registry has no such repository; correct the image name"),
    ("not found", "the registry has no such image; correct the image name"),
    ("short-name", "use a full image name with its registry"),
    ("invalid reference", "correct the image name"),
    ("x509", "the registry's certificate is not trusted; see containers-certs.d(5)"),
    ("server gave http response to https client", "mark the registry insecure in registries.conf"),
    ("no space left on device", "free space in podman's storage"),
)


def ensure_image(api: PodmanApi, image: str, policy: PullPolicy, timeout: float) -> ImageInfo:
    """Make `image` present by `policy` within `timeout` seconds and say what it is. Raises ContainerError."""
    found = find_image(api, image)
    if policy == "never":
        if found is None:
            cure = "pull or build it on this host, or allow pulling with adjutant_image_pull_policy"
            raise ContainerError("find image", image, "not on this host, and the pull policy is 'never'", cure=cure)
        return found
    if found is not None and policy == "if-not-present":
        return found
    _pull(api, image, time.monotonic() + timeout, timeout)
    found = find_image(api, image)
    if found is None:
        raise ContainerError(_WHAT, image, "podman reported success, but the image is not there", retry=True)
    return found


def find_image(api: PodmanApi, image: str) -> ImageInfo | None:
    """The image as podman has it, or None."""
    try:
        answer = api.call("GET", f"/images/{quoted(image)}/json", what="find image", where=image)
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return ImageInfo(
        id=str(answer["Id"]).removeprefix("sha256:"),
        digest=str(answer.get("Digest") or ""),
        names=tuple(answer.get("RepoTags") or ()),
        labels=answer.get("Labels") or {},
        size=int(answer.get("Size") or 0),
    )


def _pull(api: PodmanApi, image: str, end: float, timeout: float) -> None:
    """Pull with retries until `end` (monotonic)."""
    late = ContainerError(
        _WHAT, image, f"not done within {timeout:g} s", cure="raise the pull timeout or check the network", retry=True
    )
    for pause in (*RETRY_PAUSES, None):
        left = end - time.monotonic()
        if left <= 0:
            raise late
        try:
            return _pull_once(api, image, left)
        except ServiceSlow:
            raise late from None
        except ContainerError as error:
            if not error.retry or pause is None or time.monotonic() + pause >= end:
                raise
            logger.warning("%s; trying again in %g s", error, pause)
            time.sleep(pause)
    return None


def _pull_once(api: PodmanApi, image: str, timeout: float) -> None:
    """One pull. podman answers 200 and then tells of failures in the stream (podman-facts section 7).

    tlsVerify is not sent: it would override what registries.conf says of the registry.
    """
    params = {"reference": image, "policy": "always"}
    failure = ""
    try:
        for message in api.stream("POST", "/images/pull", what=_WHAT, where=image, params=params, timeout=timeout):
            failure = _failure(message) or failure
    except Refused as error:
        failure = error.why
    if failure:
        lower = failure.lower()
        cure = next((cure for text, cure in _FINAL if text in lower), None)
        raise ContainerError(_WHAT, image, failure, cure=cure or "", retry=cure is None)


def _failure(message: Any) -> str:
    if not isinstance(message, dict):
        return ""
    text = message.get("stream")
    if isinstance(text, str) and text.strip():
        logger.debug("pull: %s", text.strip())
    return str(message.get("error") or "").strip()
