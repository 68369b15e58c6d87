"""Images present by policy (ADR "Container Image Lifecycle")."""

from __future__ import annotations

import contextlib
import logging
import platform
import time
from collections.abc import Sequence
from typing import Any

from engine.adapters.podman_api import PodmanApi, Refused, ServiceSlow, quoted
from engine.core.errors import ContainerError
from engine.core.image_contents import runs_on
from engine.core.manager import ImageInfo, PullPolicy
from engine.core.registry import judge_transfer

logger = logging.getLogger(__name__)

RETRY_PAUSES = (1.0, 4.0)
"""Seconds before the second and third attempt to pull, after a failure of the transport."""

_WHAT = "pull image"
_NO_REGISTRY = "localhost/"
"""What podman calls an image that was built here and got no registry's name."""


def ensure_image(
    api: PodmanApi, image: str, policy: PullPolicy, timeout: float, pauses: Sequence[float] = RETRY_PAUSES
) -> ImageInfo:
    """Make `image` present by `policy` within `timeout` seconds and say what it is. Raises ContainerError."""
    found = find_image(api, image)
    _check_arch(image, found)
    if policy == "never":
        if found is None:
            cure = "pull or build it on this host, or allow pulling with adjutant_image_pull_policy"
            raise ContainerError("find image", image, "not on this host, and the pull policy is 'never'", cure=cure)
        return found
    nowhere = image.startswith(_NO_REGISTRY)
    if found is not None and (policy == "if-not-present" or nowhere):
        return found
    if nowhere:
        why = "not on this host, and localhost/ is no registry to pull it from"
        cure = "engine image build NAME, or podman load; or name an image of a registry"
        raise ContainerError("find image", image, why, cure=cure)
    _pull(api, image, time.monotonic() + timeout, timeout, pauses)
    before, found = found, find_image(api, image)
    if found is None:
        raise ContainerError(_WHAT, image, "podman reported success, but the image is not there", retry=True)
    try:
        _check_arch(image, found)
    except ContainerError:
        if before is None or before.id != found.id:  # it would be in the way once the right one is published
            _forget(api, image)
        raise
    return found


def find_image(api: PodmanApi, image: str) -> ImageInfo | None:
    """The image as podman has it, or None."""
    try:
        answer = api.call("GET", f"/images/{quoted(image)}/json", what="find image", where=image)
    except Refused as error:
        if error.status == 404:
            return None
        # A layer that is gone: podman knows the image, and cannot say what it is.
        cure = f"the stored image may be damaged: podman rmi --force {image}, then pull or build it again"
        raise ContainerError("find image", image, error.why, cure=cure) from None
    return ImageInfo(
        id=str(answer["Id"]).removeprefix("sha256:"),
        digest=str(answer.get("Digest") or ""),
        names=tuple(answer.get("RepoTags") or ()),
        labels=answer.get("Labels") or {},
        size=int(answer.get("Size") or 0),
        arch=str(answer.get("Architecture") or ""),
    )


def _check_arch(image: str, found: ImageInfo | None) -> None:
    """podman pulls a plain manifest of another architecture without a word."""
    machine = platform.machine()
    if found is not None and found.arch and not runs_on(found.arch, machine):
        why = f"the image is for {found.arch}, this host is {machine}"
        cure = "publish and name the image of this host's architecture"
        raise ContainerError("use image", image, why, cure=cure)


def _forget(api: PodmanApi, image: str) -> None:
    with contextlib.suppress(ContainerError):
        api.call("DELETE", f"/images/{quoted(image)}", what="remove image", where=image)


def _pull(api: PodmanApi, image: str, end: float, timeout: float, pauses: Sequence[float]) -> None:
    """Pull with retries until `end` (monotonic)."""
    late = ContainerError(
        _WHAT, image, f"not done within {timeout:g} s", cure="raise the pull timeout or check the network", retry=True
    )
    for pause in (*pauses, None):
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
        fault = judge_transfer(failure)
        raise ContainerError(_WHAT, image, fault.why, cure=fault.cure, retry=fault.retry)


def _failure(message: Any) -> str:
    if not isinstance(message, dict):
        return ""
    text = message.get("stream")
    if isinstance(text, str) and text.strip():
        logger.debug("pull: %s", text.strip())
    return str(message.get("error") or "").strip()
