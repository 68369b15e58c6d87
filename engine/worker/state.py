"""What the worker leaves on its disk for others to read: who runs here, what it does, how its tasks ended.

Below ``<workdir>/worker/``: ``lock`` is held by the daemon *and* its task processes, so whoever gets it knows that no
process of an earlier run is left; ``state.json`` is written each pass for `engine status`; ``tasks/ID.json`` by
each task process; ``drain`` exists while an operator wants no tasks taken. The truth stays with the hub and
podman's labels: nothing here is needed to go on.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.core.errors import BadInput, InfrastructureError, Problem
from engine.worker.processes import is_running, start_time

logger = logging.getLogger(__name__)

LOCK_PATIENCE = 10.0
"""Seconds for the processes of a killed daemon to be gone."""


class StateDirectory:
    """``<workdir>/worker``; made when opened for writing."""

    def __init__(self, workdir: str) -> None:
        self.path = Path(workdir, "worker")
        self._lock: int | None = None

    # The one daemon of this workdir

    def take_lock(self) -> None:
        """Be the only daemon here; task processes of a killed one are killed first.

        Raises InfrastructureError when another daemon runs here, BadInput when this user cannot write here.
        """
        try:
            self._make()
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from None
        deadline = time.monotonic() + LOCK_PATIENCE
        while not _locked(lock):
            owner = self.daemon()
            if owner not in {None, os.getpid()}:  # our own pid: started anew by exec, while a process of ours ends
                os.close(lock)
                raise InfrastructureError(
                    f"another worker (pid {owner}) runs in {self.path.parent} (stop it, or set hub.workdir)"
                )
            for record in self.tasks().values():
                if is_running(record.get("pid", 0), record.get("started", 0)):
                    with suppress(ProcessLookupError):
                        os.kill(record["pid"], signal.SIGKILL)
            if time.monotonic() > deadline:
                os.close(lock)
                raise InfrastructureError(f"a process of an earlier worker still holds {self.path / 'lock'}")
            time.sleep(0.05)
        self._lock = lock
        try:
            self._name_daemon()
        except OSError as error:
            self.release_lock()
            raise InfrastructureError(f"cannot write in {self.path}: {error.strerror}") from None

    def _make(self) -> None:
        (self.path / "tasks").mkdir(mode=0o700, parents=True, exist_ok=True)

    def _unusable(self, error: OSError) -> BadInput:
        place = error.filename or str(self.path)
        cure = "run this as the worker's user, or name a directory of this user"
        return BadInput([Problem("settings", "hub.workdir", f"{place}: {error.strerror} (uid {os.geteuid()})", cure)])

    def require_readable(self) -> None:
        """BadInput unless this user may look here: what he cannot see would else be "not running", "not drained"."""
        try:
            os.listdir(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unusable(error) from None

    def release_lock(self) -> None:
        """No daemon here any more."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def daemon(self) -> int | None:
        """Pid of the daemon that runs here, None when there is none."""
        record = self._read("daemon.json")
        if record and is_running(record.get("pid", 0), record.get("started", 0)):
            return int(record["pid"])
        return None

    # What it does

    def write(self, state: Mapping[str, Any]) -> None:
        """The state for `engine status`; an older one stays while it cannot be written."""
        self._restore()
        self._write_if_possible("state.json", state)

    def read(self) -> dict[str, Any]:
        """The last state written; empty when there is none."""
        return self._read("state.json") or {}

    # Its tasks

    def write_task(self, task_id: int, **values: Any) -> None:
        """Called in a task process, which it names by pid and start time; as `write` when it cannot be written."""
        record = {"pid": os.getpid(), "started": start_time(os.getpid()), **values}
        self._write_if_possible(f"tasks/{task_id}.json", record)

    def task(self, task_id: int) -> dict[str, Any]:
        """What a task process wrote; empty when nothing."""
        return self._read(f"tasks/{task_id}.json") or {}

    def tasks(self) -> dict[int, dict[str, Any]]:
        """The records of all task processes, dead ones included."""
        return {number: self.task(number) for number in self._task_ids() if self.task(number)}

    def forget_task(self, task_id: int) -> None:
        """Remove a task's record."""
        (self.path / f"tasks/{task_id}.json").unlink(missing_ok=True)

    def _task_ids(self) -> Iterator[int]:
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.path / "tasks")):
                stem = name.removesuffix(".json")
                if stem.isdecimal():
                    yield int(stem)

    # The operator's wish

    def drain(self, reason: str) -> None:
        """Ask the worker to take no tasks, over restarts, until `undrain`. BadInput when it cannot be written."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write("drain", {"reason": reason, "since": time.time()})
        except OSError as error:
            raise self._unusable(error) from None

    def undrain(self) -> bool:
        """Take the wish back; False when there was none."""
        try:
            (self.path / "drain").unlink()
        except FileNotFoundError:
            return False
        return True

    def drained(self) -> str | None:
        """The reason given, None when tasks may be taken."""
        if not (self.path / "drain").exists():
            return None
        return str((self._read("drain") or {}).get("reason") or "no reason given")

    def _restore(self) -> None:
        """The lock and the daemon's name anew where somebody cleaned them away: else a second daemon could start here,
        and this one would pass for dead."""
        if self._lock is None:
            return
        try:
            if os.fstat(self._lock).st_nlink:
                if not (self.path / "daemon.json").exists():
                    self._name_daemon()
                return
            self._make()
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _locked(lock):
                os.close(lock)
                logger.error("%s was removed, and another worker runs there now: set hub.workdir", self.path)
                return
            logger.warning("%s was removed; making it again (keep tmpfiles.d(5) away from it)", self.path)
            os.close(self._lock)
            self._lock = lock
            self._name_daemon()
        except OSError as error:
            logger.warning("cannot make %s again: %s", self.path, error.strerror)

    def _name_daemon(self) -> None:
        self._write("daemon.json", {"pid": os.getpid(), "started": start_time(os.getpid())})

    def _write_if_possible(self, name: str, data: Mapping[str, Any]) -> None:
        # A full disk, or one that fails, must not end the daemon, nor hide a task's own failure.
        try:
            try:
                self._write(name, data)
            except FileNotFoundError:
                self._make()
                self._write(name, data)
        except OSError as error:
            logger.warning("cannot write %s: %s", self.path / name, error.strerror)

    def _write(self, name: str, data: Mapping[str, Any]) -> None:
        # Whole or not at all: a reader, or the next daemon after kill -9, never sees half a file.
        path = self.path / name
        new = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            new.write_text(json.dumps(data, default=str), encoding="utf-8")
            new.replace(path)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            data = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
