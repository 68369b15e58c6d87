"""A task's input, from wherever it is, into the workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from engine.core.errors import InfrastructureError, Interrupted
from engine.core.manager import Cancelled
from engine.runner.interruptible import interruptible
from engine.runner.ports import WorkspaceFiles

CHUNK = 1024**2


def fetch_input(
    opened: Callable[[], BinaryIO],
    source: str,
    workspace: WorkspaceFiles,
    path: str,
    cancelled: Cancelled,
    mode: int = 0o644,
) -> tuple[int, str]:
    """Write what `opened` gives to `path` of the workspace; its size and sha256. `source` is its name for messages.

    Interrupted when `cancelled`, InfrastructureError when it cannot be read; what `opened` and `write` raise passes.
    """
    words = f"stopped while fetching {source}"
    with interruptible(opened, cancelled, words) as stream:
        return workspace.write(path, _chunks(stream, source, cancelled, words), mode)


def _chunks(stream: BinaryIO, source: str, cancelled: Cancelled, words: str) -> Iterator[bytes]:
    while True:
        if cancelled():
            raise Interrupted(words)
        try:
            data = stream.read(CHUNK)
        except OSError as error:
            raise InfrastructureError(f"cannot read {source}: {error.strerror or error}") from None
        if not data:
            return
        yield data
