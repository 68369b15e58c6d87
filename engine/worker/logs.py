"""Logs grow on the hub while the task runs: a thread sends what was added, at least once a second.

What koji's own incremental upload lacks: it only logs a piece that did not arrive whole, and a log that is
listed in a result must be complete (contract 3.4, trap 15). Here what did not arrive is sent again as long as the task
runs, for a hub may be well again, and then `finish` raises.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import koji
from koji.util import adler32_constructor, base64encode

from engine.core.errors import InfrastructureError

logger = logging.getLogger(__name__)

INTERVAL = 0.5
"""Seconds between two looks at the logs; the hub lags less than 2 s behind."""
AFTER_ERROR = 5.0
"""Seconds until the next look when the hub could not take something."""
PIECE = 1024 * 1024
TRIES = 6


class NotOurs(Exception):
    """The hub says that the task is not OPEN here any more: cancelled, or given to somebody else."""


class _Log:
    """One log: how much of the file, and of its time stamps, the hub has."""

    def __init__(self, name: str, path: str) -> None:
        self.name, self.path = name, path
        self.sent = 0
        self.stamps = bytearray()
        self.stamps_sent = 0


class LogUploader:
    """Sends the logs named by `add` to the task's directory on the hub until `finish` or `stop`.

    `lost` is called (from the thread) when the hub says the task is not ours any more.
    """

    def __init__(
        self, session: Any, task_id: int, *, timestamps: bool = False, lost: Callable[[], None] | None = None
    ) -> None:
        self.session, self.timestamps, self._lost = session, timestamps, lost
        self.directory = koji.pathinfo.taskrelpath(task_id)
        self._logs: dict[str, _Log] = {}
        self._wake = threading.Event()
        self._ending = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="logs", daemon=True)

    def start(self) -> None:
        """Begin sending."""
        self._thread.start()

    def add(self, name: str, path: str) -> None:
        """Send the file `path` (which need not exist yet) as `name`."""
        self._logs.setdefault(name, _Log(name, path))

    def finish(self) -> tuple[str, ...]:
        """Send everything that is there, then end. Names of the logs the hub now has, time stamps included.

        Raises NotOurs, or InfrastructureError when something did not arrive.
        """
        self.stop()
        if not isinstance(self._error, NotOurs):
            self._round()
        if isinstance(self._error, NotOurs):
            raise self._error
        if self._error is not None:
            raise InfrastructureError(f"logs could not be uploaded: {self._error}")
        return tuple(self._arrived())

    def stop(self, *, wait: bool = True) -> None:
        """End without caring for the rest; `wait` for a piece that is on its way."""
        self._ending = True
        self._wake.set()
        if wait and self._thread.is_alive():
            self._thread.join()

    def _arrived(self) -> list[str]:
        names = []
        for log in self._logs.values():
            names += [log.name] if log.sent else []
            names += [stamps_name(log.name)] if log.stamps_sent else []
        return names

    def _work(self) -> None:
        while not self._ending and not isinstance(self._error, NotOurs):
            self._round()
            self._wake.wait(INTERVAL if self._error is None else AFTER_ERROR)

    def _round(self) -> None:
        """Send what is new. `_error` is then what went wrong in this round, if anything."""
        before, self._error = self._error, None
        for log in list(self._logs.values()):
            try:
                self._send(log)
            except koji.ActionNotAllowed as error:
                self._error = NotOurs(str(error))
                if self._lost is not None:
                    self._lost()
                return
            except Exception as error:
                self._error = error
                if before is None:
                    logger.exception("uploading %s failed; it is tried again", log.name)

    def _send(self, log: _Log) -> None:
        try:
            file = open(log.path, "rb")  # noqa: SIM115 - the with is below; absent is fine
        except FileNotFoundError:
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            if size <= log.sent:
                return
            before = log.sent
            file.seek(log.sent)
            while piece := file.read(PIECE):
                self._put(log.name, log.sent, piece)
                log.sent += len(piece)
        if self.timestamps:
            self._stamp(log, before)

    def _stamp(self, log: _Log, before: int) -> None:
        """``<epoch seconds> <byte offset>``, one line for each time the log was seen to have grown (contract 3.4)."""
        now = int(time.time())
        if not log.stamps:
            log.stamps += f"{now} 0\n".encode()
        if log.sent > before:
            log.stamps += f"{now} {log.sent}\n".encode()
        piece = bytes(log.stamps[log.stamps_sent :])
        self._put(stamps_name(log.name), log.stamps_sent, piece)
        log.stamps_sent += len(piece)

    def _put(self, name: str, offset: int, piece: bytes) -> None:
        """One piece at its place, repeated until the hub has exactly that."""
        for attempt in range(TRIES):
            with suppress(koji.LockError):
                if self._arrives(name, offset, piece):
                    return
            time.sleep(0.2 * 2**attempt)
        raise InfrastructureError(f"{name} did not arrive whole at offset {offset}, {TRIES} times")

    def _arrives(self, name: str, offset: int, piece: bytes) -> bool:
        if not self.session.opts.get("use_fast_upload"):
            digest = ("sha256", hashlib.sha256(piece).hexdigest())
            return bool(self.session.uploadFile(self.directory, name, len(piece), digest, offset, base64encode(piece)))
        answer = self.session.rawUpload(piece, offset, self.directory, name, overwrite=True)
        wanted = adler32_constructor(piece).hexdigest()
        return bool(answer["hexdigest"] == wanted and int(answer["size"]) == len(piece))


def stamps_name(name: str) -> str:
    """Name of the time stamps of a log, as kojid has it: ``build.log-ts.log``."""
    return f"{name}-ts.log"
