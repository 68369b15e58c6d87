"""A source package that is fetched before its root is chosen: what it requires is known by its digest."""

from __future__ import annotations

import os
from typing import BinaryIO

from engine.adapters.hub_files import HubFiles
from engine.adapters.workspace import TaskDirectory
from engine.core.manager import Cancelled
from engine.core.plan import PlannedInput
from engine.runner.inputs import fetch_input

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
        fetch_input(lambda: self.files.open(planned), planned.source, self.workspace, name, cancelled, 0o600)
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
