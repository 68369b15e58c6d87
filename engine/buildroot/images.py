"""Snapshot images in podman's storage. Only images with our label are ever looked at, used or removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from attrs import field, frozen

from engine.adapters.podman_api import PodmanApi, Refused, quoted
from engine.adapters.podman_images import find_image
from engine.adapters.podman_service import PodmanService
from engine.core.manager import ImageInfo
from engine.core.spec import ContainerHandle

REPOSITORY = "localhost/adjutant-root"
EMPTY = f"{REPOSITORY}:empty"
LABEL_KEY = "io.koji.adjutant.buildroot"
"""Label of every image here: the key of its content. An image without it is somebody else's."""
LABEL_OWNER = "io.koji.adjutant.buildroot.state"
"""Label: the state directory whose records speak of the image. Only its owner removes it."""

STORE_TIMEOUT = 1800.0


@frozen(kw_only=True)
class StoredImage:
    """An image in the storage: podman's id, its names, labels, size in bytes, when it was made."""

    id: str
    names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    size: int = 0
    created: float = 0.0


class SnapshotImages(Protocol):
    """What snapshots need of podman's images. Failures are `ContainerError`."""

    def find(self, image: str) -> ImageInfo | None:
        """The image, or None."""

    def ours(self) -> list[StoredImage]:
        """Every image with our label."""

    def commit(self, container: ContainerHandle, image: str, labels: Mapping[str, str]) -> None:
        """Make the image `image` of a container's root; the name comes last."""

    def load(self, archive: Path) -> None:
        """Take in an image archive; the name in it comes last."""

    def make_empty(self, labels: Mapping[str, str]) -> None:
        """Make the image that holds nothing, `EMPTY`."""

    def remove(self, image: str) -> bool:
        """Remove a name (or the image of an id) and what only it holds; False while it is used. Absent: True."""


class PodmanSnapshotImages(PodmanApi):
    """`SnapshotImages` over podman's API."""

    def __init__(self, service: PodmanService) -> None:
        super().__init__(service)

    def find(self, image: str) -> ImageInfo | None:
        return find_image(self, image)

    def ours(self) -> list[StoredImage]:
        params = {"filters": f'{{"label":["{LABEL_KEY}"]}}', "all": "true"}
        found = self.call("GET", "/images/json", what="list", where="images", params=params)
        return [
            StoredImage(
                id=item["Id"],
                names=tuple(item.get("RepoTags") or item.get("Names") or ()),
                labels=item.get("Labels") or {},
                size=int(item.get("Size") or 0),
                created=float(item.get("Created") or 0),
            )
            for item in found or []
        ]

    def commit(self, container: ContainerHandle, image: str, labels: Mapping[str, str]) -> None:
        repository, _, tag = image.rpartition(":")
        params = {
            "container": container.id,
            "repo": repository,
            "tag": tag,
            "pause": "false",
            "format": "oci",
            "changes": [f"LABEL {key}={value}" for key, value in sorted(labels.items())],
        }
        self.call(
            "POST", "/commit", what="store snapshot", where=image, params=params, timeout=STORE_TIMEOUT, patience=0
        )

    def load(self, archive: Path) -> None:
        with archive.open("rb") as content:
            self._upload("/images/load", {}, content, what="store snapshot", where=str(archive))

    def make_empty(self, labels: Mapping[str, str]) -> None:
        changes = [f"LABEL {key}={value}" for key, value in sorted(labels.items())]
        params = {"reference": EMPTY, "changes": changes}
        self._upload("/images/import", params, b"\0" * 10240, what="make image", where=EMPTY)

    def remove(self, image: str) -> bool:
        try:
            self.call("DELETE", f"/images/{quoted(image)}", what="remove image", where=image)
        except Refused as error:
            if error.status == 404:
                return True
            if error.status == 409 or any(words in error.why for words in ("in use", "is using", "dependent child")):
                return False
            raise
        return True

    def _upload(self, path: str, params: Mapping[str, object], data: object, *, what: str, where: str) -> None:
        """POST a file as it is."""
        with self._errors(what, where):
            headers = {"content-type": "application/x-tar"}
            response = self._session().post(
                path, params=params, data=data, headers=headers, timeout=STORE_TIMEOUT, stream=False
            )
            content: bytes = response.content
        self._check(response.status_code, content, what, where)


def image_name(key: str) -> str:
    """``localhost/adjutant-root:KEY``."""
    return f"{REPOSITORY}:{key}"
