"""Task images: references, version tags, and which image a task gets. Pure.

Rules are ADR 0002, "Phase 1 Task Container Image", "Tagging Strategy" and "Container Image Lifecycle".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from attrs import frozen

from engine.core.fields import doc

IMAGE_LABEL = "io.koji.adjutant.image"
VERSION_LABEL = "org.opencontainers.image.version"
TAG_EXTRA = "adjutant.image"
"""Extra of a hub tag that names the image of its tasks."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?\Z")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}\Z")
_TRANSPORTS = frozenset(
    ("containers-storage", "dir", "docker", "docker-archive", "docker-daemon", "oci", "oci-archive", "ostree", "sif")
    + ("tarball",)
)
_VERSION = re.compile(r"v?([0-9]+(?:\.[0-9]+){0,3})(?:-([0-9A-Za-z.]+))?\Z")


@frozen(kw_only=True)
class Reference:
    """An image reference: `host` of the registry ("" when short), `path`, `tag` and `digest` or ""."""

    host: str = ""
    path: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        text = self.repository
        text += f":{self.tag}" if self.tag else ""
        return text + (f"@{self.digest}" if self.digest else "")

    @property
    def repository(self) -> str:
        """Everything before tag and digest."""
        return f"{self.host}/{self.path}" if self.host else self.path

    @property
    def short(self) -> bool:
        """No registry is named, so podman would guess one from registries.conf."""
        return not self.host


def parse_reference(text: str) -> Reference:
    """The parts of an image reference. ValueError with the words for the user."""
    rest, _at, digest = text.partition("@")
    if digest and not _DIGEST.match(digest):
        raise ValueError(f"'{text}': a digest is sha256: and 64 hexadecimal digits")
    head, slash, tail = rest.rpartition("/")
    last, colon, tag = tail.partition(":")
    if (colon and not _TAG.match(tag)) or not last:
        raise ValueError(f"'{text}': a tag has letters, digits, '_', '.' and '-'")
    parts = f"{head}{slash}{last}".split("/")
    host = ""
    if len(parts) > 1 and (parts[0] == "localhost" or any(sign in parts[0] for sign in ".:")):
        host = parts.pop(0)
        if not _HOST.match(host):
            raise ValueError(f"'{text}': '{host}' is not a registry's host")
    if not all(_PART.match(part) for part in parts):
        raise ValueError(f"'{text}': is not an image reference such as registry.example.org/name:tag")
    return Reference(host=host, path="/".join(parts), tag=tag, digest=digest)


def image_complaint(text: str) -> tuple[str, str] | None:
    """What is wrong with the image of a container: a reference or an id.

    podman's command line also takes ``dir:/etc``, any directory or archive of the host, and ``oci:name`` for one.
    """
    if _ID.match(text):
        return None
    cure = "e.g. registry.example.org/name:tag"
    if text.partition(":")[0] in _TRANSPORTS and ":" in text:
        return f"{text!r} is not in a registry or in podman's storage", cure
    try:
        parse_reference(text)
    except ValueError:
        return f"{text!r} is not an image reference", cure
    return None


def version_tag(name: str, version: str) -> str:
    """The never-moved tag of one build: ``almalinux10-v1.2.3``. ValueError for what is no version."""
    if not _VERSION.match(version):
        raise ValueError(f"'{version}' is not a version such as 1.2.3")
    return f"{name}-v{version.removeprefix('v')}"


def version_key(tag: str, name: str) -> tuple[tuple[int, ...], str] | None:
    """What versions of `name` are sorted by; None when `tag` is not one of them. Releases sort after -rc1."""
    if not tag.startswith(f"{name}-v"):
        return None
    found = _VERSION.match(tag[len(name) + 1 :])
    if not found:
        return None
    return tuple(int(part) for part in found[1].split(".")), found[2] or "~"


def prunable(tags: Iterable[str], name: str, keep: int, spared: Iterable[str] = ()) -> list[str]:
    """Version tags of `name` beyond the newest `keep`, oldest first; never one of `spared`."""
    known = [(key, tag) for tag in tags if (key := version_key(tag, name)) is not None]
    old = [tag for _key, tag in sorted(known)[: max(0, len(known) - keep)]]
    return [tag for tag in old if tag not in set(spared)]


@frozen(kw_only=True)
class ImageRule:
    """One row of `adjutant_images`: tasks that match get `image`. Patterns are shell globs; the first rule wins."""

    image: str = doc("Image reference.")
    method: str = doc("Methods it is for.", "*")
    tag: str = doc("Build tags it is for; tasks without a build tag match only `*`.", "*")
    arch: str = doc("Architectures it is for.", "*")

    def matches(self, method: str, tag: str, arch: str) -> bool:
        """True when the rule is for such a task."""
        pairs = ((self.method, method), (self.tag, tag), (self.arch, arch))
        return all(fnmatchcase(value, pattern) for pattern, value in pairs)


@frozen
class ImageChoice:
    """The image a task gets, and why, for its log."""

    image: str
    reason: str


def choose_image(
    *,
    method: str,
    arch: str,
    default: str,
    tag: str = "",
    extra: Mapping[str, Any] | None = None,
    rules: Sequence[ImageRule] = (),
    allowed: Sequence[str] = (),
) -> ImageChoice:
    """Method, build tag and arch to image: operator's rule, then the hub tag's `adjutant.image`, then `default`.

    The hub's word is taken only when it is a whole reference below one of `allowed` (globs, e.g.
    ``registry.example.org/builders/*``): a tag's admin must not be able to name any image of the internet.
    """
    for index, rule in enumerate(rules):
        if rule.matches(method, tag, arch):
            return ImageChoice(rule.image, f"adjutant_images[{index}]")
    said = (extra or {}).get(TAG_EXTRA)
    if said is None:
        return ImageChoice(default, "adjutant_task_image_default")
    refused = _tag_image_complaint(said, allowed)
    if refused:
        return ImageChoice(default, f"adjutant_task_image_default, as tag {tag}'s {TAG_EXTRA} {refused}")
    return ImageChoice(str(said), f"{TAG_EXTRA} of tag {tag}")


def _tag_image_complaint(said: object, allowed: Sequence[str]) -> str:
    if not isinstance(said, str):
        return "is not a string"
    try:
        reference = parse_reference(said)
    except ValueError:
        return "is not an image reference"
    if reference.short:
        return "names no registry"
    if not any(fnmatchcase(reference.repository, pattern) or fnmatchcase(said, pattern) for pattern in allowed):
        return "is not below adjutant_images_allowed"
    return ""
