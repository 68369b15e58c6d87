"""Which content a repository has: the digest of its repomd.xml, which names everything else by digest."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request

from engine.core.errors import InfrastructureError
from engine.core.facts import PackageRepo

REPOMD = "repodata/repomd.xml"
SECONDS = 30.0
MAX_BYTES = 4 * 1024 * 1024


def content_of(repo: PackageRepo) -> str:
    """sha256 of the repository's repomd.xml. InfrastructureError when it cannot be read."""
    place = f"{repo.path or repo.url}/{REPOMD}"
    try:
        data = _read(place) if repo.path else _fetch(place)
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        if isinstance(error, http.client.HTTPException):  # its text alone is what came, or nothing
            why = f"no answer as of HTTP ({type(error).__name__}: {str(error).strip()[:100]})"
        raise InfrastructureError(
            f"could not init mock buildroot: repository {repo.name} cannot be read: {place}: {why}"
        ) from None
    if b"</repomd>" not in data:
        raise InfrastructureError(f"could not init mock buildroot: repository {repo.name} is half-written: {place}")
    return hashlib.sha256(data).hexdigest()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return _bounded(file.read(MAX_BYTES + 1))


def _fetch(address: str) -> bytes:
    # The scheme was checked when the request was rendered.
    with urllib.request.urlopen(address, timeout=SECONDS) as answer:  # noqa: S310
        return _bounded(answer.read(MAX_BYTES + 1))


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    return content
