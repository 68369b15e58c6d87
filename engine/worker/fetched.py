"""A source package that is fetched before its root is chosen: what it requires is known by its digest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from engine.adapters.hub_files import HubFiles
from engine.adapters.workspace import TaskDirectory
from engine.core.errors import InfrastructureError, Interrupted
from engine.core.manager import Cancelled
from engine.core.plan import PlannedInput
from engine.runner.interruptible import interruptible

CHUNK = 1024**2
FOLDER = "fetched"
"""Below the workspace; no container sees it."""


class FetchedFirst:
    """An `engine.runner.ports.InputSource`: the hub's files, of which one may have been fetched already."""

    def __init__(self, files: HubFiles, workspace: TaskDirectory) -> None:
        self.files, self.workspace = files, workspace
        self._paths: dict[str, str] = {}

    def fetch(self, planned: PlannedInput, cancelled: Cancelled) -> str:
        """Fetch it now, once; its host path until `open` takes it. Errors as of `open`, Interrupted when cancelled."""
        name = f"{FOLDER}/{planned.name}"
        words = f"stopped while fetching {planned.source}"
        with interruptible(lambda: self.files.open(planned), cancelled, words) as stream:
            self.workspace.write(name, _chunks(stream, planned, cancelled), 0o600)
        path = os.path.join(self.workspace.path, name)
        self._paths[planned.name] = path
        return path

    def open(self, planned: PlannedInput) -> BinaryIO:
        """The content of a file; one that was fetched first is given away."""
        path = self._paths.pop(planned.name, None)
        if path is None:
            return self.files.open(planned)
        stream = open(path, "rb")  # noqa: SIM115 - the caller closes it
        os.unlink(path)
        return stream

    def check_tree(self, planned: PlannedInput) -> None:
        """InfrastructureError unless the directory is there."""
        self.files.check_tree(planned)


def _chunks(stream: BinaryIO, planned: PlannedInput, cancelled: Cancelled) -> Iterator[bytes]:
    while True:
        if cancelled():
            raise Interrupted(f"stopped while fetching {planned.source}")
        try:
            data = stream.read(CHUNK)
        except OSError as error:
            raise InfrastructureError(f"cannot read {planned.source}: {error.strerror or error}") from None
        if not data:
            return
        yield data
