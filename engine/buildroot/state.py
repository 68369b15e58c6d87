"""What is known of snapshots on this host: records, locks, counts. One directory, shared by all processes of a user.

::

    snapshots/KEY.json  a verified snapshot (written last); its mtime is when it was last used
    snapshots/KEY.log   what was printed when it was made
    installed/KEY.json  what its rpmdb holds, in the hub's words
    known/ID.json       repo and request already resolved -> KEY
    repeats/ID.json     source package already built in a root -> its build requirements
    locks/NAME          flock: exclusive while a root is made or removed, shared while a task relies on it
    jobs/TOKEN/         one call of a tool, locked by whoever made it
    cache/ID/           metadata of repositories, by content
    tools/ID/           the scripts that run in tool containers
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from attrs import asdict, evolve, frozen

from engine.core.errors import BadInput, InfrastructureError, Interrupted, Problem
from engine.core.manager import Cancelled
from engine.core.snapshots import Snapshot, snapshot_of

DIRECTORY = "buildroots"
PARTS = ("snapshots", "installed", "known", "repeats", "locks", "jobs", "cache", "tools")
BOOT = Path("/proc/sys/kernel/random/boot_id")
POLL = 0.05
"""Seconds between two tries for a lock."""


class Lock:
    """A held flock. The kernel lets go of it when the process dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.release()


@frozen(kw_only=True)
class Job:
    """A directory of one process. Closing removes it; what a killed process left is swept."""

    path: Path
    lock: Lock | None

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        (self.path.parent.parent / "locks" / f"job-{self.path.name}").unlink(missing_ok=True)
        if self.lock is not None:
            self.lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class State:
    """The directory. Failures are `InfrastructureError` naming the path."""

    def __init__(self, workdir: str) -> None:
        """Make it (0700) below `workdir`. BadInput when it belongs to somebody else or others may write to it."""
        self.path = Path(os.path.abspath(workdir)) / DIRECTORY
        with _naming("make", self.path):
            # One by one: what is made on the way to another directory has the umask's mode.
            for place in (self.path.parent, self.path, *(self.path / part for part in PARTS)):
                os.makedirs(place, mode=0o700, exist_ok=True)
            info = os.lstat(self.path)
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid() or info.st_mode & 0o022:
            trouble = f"{self.path} belongs to somebody else, or others may write to it"
            raise BadInput([Problem("settings", "workdir", trouble, "name another directory")])

    # Locks

    def try_lock(self, name: str, *, shared: bool = False) -> Lock | None:
        """The lock, or None when somebody else has it."""
        path = self.path / "locks" / name
        with _naming("lock", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return Lock(descriptor)

    def lock(
        self,
        name: str,
        *,
        cancelled: Cancelled,
        shared: bool = False,
        ready: Callable[[], bool] = lambda: False,
    ) -> Lock | None:
        """Wait for the lock; None as soon as `ready` says that it is not needed any more."""
        while True:
            if (found := self.try_lock(name, shared=shared)) is not None:
                return found
            if cancelled():
                raise Interrupted("stopped while waiting for a root that another task makes")
            if ready():
                return None
            time.sleep(POLL)

    # Records

    def snapshots(self) -> list[Snapshot]:
        """Every record that can be read, most lately used first."""
        found = [self.snapshot(path.stem) for path in (self.path / "snapshots").glob("*.json")]
        return sorted((item for item in found if item), key=lambda item: (-item.used, item.key))

    def snapshot(self, key: str) -> Snapshot | None:
        """The record of `key`; None when there is none, or it cannot be read."""
        path = self._record("snapshots", key)
        data = _read(path)
        if data is None:
            return None
        try:
            return snapshot_of({**data, "used": path.stat().st_mtime})
        except (KeyError, TypeError, ValueError, OSError):
            return None

    def record(self, snapshot: Snapshot) -> None:
        self.write("snapshots", snapshot.key, asdict(snapshot))

    def settle(self, keys: Iterable[str]) -> None:
        """What the records speak of is on disk by now: they hold beyond this run of the host."""
        for key in keys:
            lock = self.try_lock(key, shared=True)
            if lock is None:  # it is being made anew, or removed
                continue
            with lock:
                if (snapshot := self.snapshot(key)) is not None:
                    self.record(evolve(snapshot, boot=""))
                    with contextlib.suppress(OSError):
                        os.utime(self._record("snapshots", key), (snapshot.used, snapshot.used))

    def forget(self, key: str) -> None:
        """The record goes first, so that nobody takes up what is being removed."""
        for suffix in ("json", "log"):
            (self.path / "snapshots" / f"{key}.{suffix}").unlink(missing_ok=True)
        (self.path / "installed" / f"{key}.json").unlink(missing_ok=True)

    def touch(self, key: str, part: str = "snapshots") -> None:
        with contextlib.suppress(OSError):
            os.utime(self._record(part, key))

    def read(self, part: str, name: str) -> dict[str, Any] | None:
        return _read(self._record(part, name))

    def write(self, part: str, name: str, data: Mapping[str, Any]) -> None:
        """In one step, also over a power cut: a reader finds the old record or the new one.

        When this returns the record is on disk (measured: 4 to 12 ms on a loaded ext4).
        """
        path = self._record(part, name)
        arriving = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with _naming("write", path):
            try:
                with arriving.open("w", encoding="utf-8") as file:
                    file.write(json.dumps(data, separators=(",", ":"), sort_keys=True))
                    file.flush()
                    os.fsync(file.fileno())
                arriving.rename(path)
            except OSError:
                arriving.unlink(missing_ok=True)
                raise
            directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def log_path(self, key: str) -> Path:
        return self.path / "snapshots" / f"{key}.log"

    def _record(self, part: str, name: str) -> Path:
        return self.path / part / f"{name}.json"

    # Counts

    def count(self, name: str) -> None:
        """One more of `name`. Never fails: it is only a number."""
        with contextlib.suppress(OSError, InfrastructureError):
            descriptor = os.open(self.path / "counts.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    counts = json.loads(file.read() or "{}")
                except ValueError:
                    counts = {}
                counts[name] = counts.get(name, 0) + 1
                file.seek(0)
                file.truncate()
                file.write(json.dumps(counts, sort_keys=True))

    def counts(self) -> dict[str, int]:
        return _read(self.path / "counts.json") or {}

    # Jobs

    def open_job(self) -> Job:
        """A directory for the calls of tools that belong together."""
        token = secrets.token_hex(6)
        path = self.path / "jobs" / token
        lock = self.try_lock(f"job-{token}")
        with _naming("make", path):
            path.mkdir(parents=True, mode=0o700)
        return Job(path=path, lock=lock)

    def sweep_jobs(self) -> int:
        """Remove what killed processes left; how many."""
        count = 0
        for path in (self.path / "jobs").iterdir():
            lock = self.try_lock(f"job-{path.name}")
            if lock is not None:
                with lock:
                    shutil.rmtree(path, ignore_errors=True)
                    (self.path / "locks" / f"job-{path.name}").unlink(missing_ok=True)
                count += 1
        return count


def this_boot() -> str:
    """Names this run of the host."""
    with _naming("read", BOOT):
        return BOOT.read_text(encoding="ascii").strip()


def foreign_record(directory: str, key: str) -> tuple[Snapshot, dict[str, Any]] | None:
    """A snapshot and its list of packages out of another state directory of this user; None unless both are there."""
    owner = Path(directory)
    try:
        if owner.stat().st_uid != os.geteuid():
            return None
    except OSError:
        return None
    data, installed = _read(owner / "snapshots" / f"{key}.json"), _read(owner / "installed" / f"{key}.json")
    if data is None or installed is None:
        return None
    try:
        return snapshot_of(data), installed
    except (KeyError, TypeError, ValueError):
        return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


@contextlib.contextmanager
def _naming(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InfrastructureError(f"cannot {doing} {path}: {error.strerror or error}") from None
