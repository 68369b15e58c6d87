"""A manager that knows one task's root: hands over the one just made, reads what was installed into it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.buildroot.shelf import Shelf
from engine.core.errors import ContainerError, InfrastructureError
from engine.core.manager import (
    Cancelled,
    ContainerInfo,
    ContainerManager,
    ImageInfo,
    Outcome,
    PullPolicy,
)
from engine.core.podman_options import ROOT_PREFIX
from engine.core.spec import AnchorSpec, ContainerHandle, ContainerSpec

RECORD = "requirements.json"
MAX_BYTES = 16 * 1024 * 1024


class RootedManager:
    """`ContainerManager` of one task; everything goes to `inner`, except:

    the snapshot `image` is never pulled, and must be what `shelf` knows as `key`; `lists` (content by file name) are in
    ``result/`` before the first step, for a root whose installing step has nothing to do; `create_anchor` returns
    `anchor`, the root just made, when there is one, and says so in `taken`. `requirements` is what the last installing
    step said it had added, None before.
    """

    def __init__(
        self,
        inner: ContainerManager,
        image: str,
        shelf: Shelf,
        key: str,
        anchor: ContainerHandle | None = None,
        *,
        lists: Mapping[str, str] | None = None,
    ) -> None:
        self.inner, self._image, self._anchor = inner, image, anchor
        self._shelf, self._key = shelf, key
        self._lists = dict(lists or {})
        self.requirements: dict[str, Any] | None = None
        self.taken = False

    @property
    def lists(self) -> Mapping[str, str]:
        """Content by file name, as it was known before any step ran; empty once the first step has begun."""
        return self._lists

    def ensure_image_available(self, image: str, policy: PullPolicy | None = None) -> ImageInfo:
        if image != self._image:
            return self.inner.ensure_image_available(image, policy)
        if self._anchor is not None:  # it has that content; the image gets its name when it is stored
            return ImageInfo(id="", names=(image,))
        return self._checked()

    def create(self, spec: ContainerSpec) -> ContainerHandle:
        return self.inner.create(spec)

    def start(self, handle: ContainerHandle) -> None:
        self.inner.start(handle)

    def wait(
        self, handle: ContainerHandle, *, timeout: float | None = None, cancelled: Cancelled | None = None
    ) -> Outcome:
        return self.inner.wait(handle, timeout=timeout, cancelled=cancelled)

    def remove(self, handle: ContainerHandle, *, force: bool = True) -> bool:
        return self.inner.remove(handle, force=force)

    def run(self, spec: ContainerSpec, **keywords: Any) -> Outcome:
        self._write_lists(spec)
        outcome = self.inner.run(spec, **keywords)
        if any(mount.source.startswith(ROOT_PREFIX) for mount in spec.mounts):
            self._read_record(spec)
        return outcome

    def create_anchor(self, anchor: AnchorSpec) -> ContainerHandle:
        if self._anchor is not None and self._anchor.name == anchor.name:
            self.taken = True
            return self._anchor
        try:
            return self.inner.create_anchor(anchor)
        except ContainerError:
            if anchor.image == self._image:
                self._checked()
            raise

    def anchor_path(self, name: str) -> str:
        return self.inner.anchor_path(name)

    def containers(self, labels: Mapping[str, str]) -> list[ContainerInfo]:
        return self.inner.containers(labels)

    def _checked(self) -> ImageInfo:
        """The snapshot's image. Other tasks leave it alone, for its lock is held; a person with podman need not."""
        snapshot, info = self._shelf.take(self._key), self._shelf.images.find(self._image)
        if snapshot is None or info is None or info.id != snapshot.image:
            what = "was removed" if info is None else "was replaced by another image"
            why = f"the snapshot {what} after the task had been given it"
            raise ContainerError("clone root", self._image, why, cure="the next task makes it anew", retry=True)
        return info

    def _write_lists(self, spec: ContainerSpec) -> None:
        """Before anything ran in the task, so nothing of it can be in the way."""
        lists, self._lists = self._lists, {}
        for mount in spec.mounts:
            if mount.target.endswith("/result") and not mount.read_only:
                for name, content in lists.items():
                    path = Path(mount.source) / name
                    try:
                        with path.open("x", encoding="utf-8") as file:
                            file.write(content)
                    except OSError as error:
                        raise InfrastructureError(f"cannot write {path}: {error.strerror or error}") from None

    def _read_record(self, spec: ContainerSpec) -> None:
        """From a directory that only installing steps may write to: the package's own code has no say in it."""
        for mount in spec.mounts:
            path = Path(mount.source) / RECORD
            if mount.read_only or not mount.target.endswith("/record") or mount.source.startswith(ROOT_PREFIX):
                continue
            try:
                if path.stat().st_size <= MAX_BYTES:
                    data = json.loads(path.read_text(encoding="utf-8"))
                    self.requirements = {"requires": list(data["requires"]), "added": list(data["added"])}
            except (OSError, ValueError, KeyError, TypeError):
                self.requirements = None
