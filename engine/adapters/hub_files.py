"""Inputs of a hub's task: files below the hub's ``work/``, over HTTP or from its mounted tree."""

from __future__ import annotations

import os
from typing import BinaryIO

import koji
import requests

from engine.core.errors import InfrastructureError, TaskFailed
from engine.core.plan import PlannedInput


class HubFiles:
    """An `engine.runner.ports.InputSource`. `topurl` is preferred, as kojid does (contract 3.4)."""

    def __init__(self, topurl: str, topdir: str, scratch: str) -> None:
        """`scratch` is the directory that downloads pass through (unnamed files, gone when closed)."""
        self.topurl, self.topdir, self.scratch = topurl, topdir, scratch

    def open(self, planned: PlannedInput) -> BinaryIO:
        """The content of a file; TaskFailed when the hub has no such file."""
        if planned.local:
            return open(planned.source, "rb")
        path = f"work/{planned.source}"
        try:
            stream: BinaryIO = koji.openRemoteFile(
                path, topurl=self.topurl or None, topdir=self.topdir, tempdir=self.scratch
            )
        except requests.exceptions.HTTPError as error:
            if error.response is not None and error.response.status_code == requests.codes.not_found:
                raise TaskFailed("BuildError", f"No such file on the hub: {path}") from None
            raise InfrastructureError(f"cannot fetch {path}: {error}") from None
        except FileNotFoundError:
            if self.topurl or os.path.isdir(os.path.join(self.topdir, "work")):
                raise TaskFailed("BuildError", f"No such file on the hub: {path}") from None
            raise InfrastructureError(f"{self.topdir} is not the hub's file tree: it has no work/") from None
        except koji.GenericError as error:
            if "match expected size" not in str(error):
                raise
            raise InfrastructureError(f"cannot fetch {path}: {error}") from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise InfrastructureError(f"cannot fetch {path}: {error}") from None
        return stream

    def check_tree(self, planned: PlannedInput) -> None:
        """The directory is there, or TaskFailed as of kojid (contract 4.6); InfrastructureError without a tree."""
        if not os.path.isdir(planned.source):
            if os.path.isdir(os.path.join(self.topdir, "repos")):
                raise TaskFailed("GenericError", f"Repo directory missing: {planned.source}")
            raise InfrastructureError(f"{planned.source}: the hub's file tree is not mounted at {self.topdir}")
