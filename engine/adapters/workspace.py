"""A task's directory on this host: made private, filled before the first step, removed without a trace.

``<workdir>/<task id>/`` is 0700 and owned by the engine; what containers may write lies below it, so its own
modes can be open (rootless, container uid 1000 is a subordinate uid that the engine cannot become).
``logs/`` is never mounted. ``lock`` is held by the process that runs the task: a directory whose lock is free
and that was not kept belongs to a process that died.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from attrs import frozen

from engine.adapters import paths
from engine.adapters.collect import scan
from engine.adapters.steplog import FileLog
from engine.core.errors import BadInput, InfrastructureError, Problem
from engine.core.outcome import DiskSpace
from engine.core.plan import Plan
from engine.core.podman_options import LOG_SEPARATORS, MOUNT_SEPARATOR
from engine.core.policy import workdir_complaint
from engine.core.recipe import Artifact
from engine.core.results import FoundFile
from engine.core.structure import structure
from engine.core.verdict import disk_words

CONTAINER_UID = CONTAINER_GID = 1000  # ADR "UID/GID Strategy"
DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
LOCK, KEPT, PLAN = "lock", "kept", "plan.json"
PRIVATE = frozenset({"in", "logs"})
"""Top directories that no container may write to."""


@frozen
class KeptTask:
    """A task left for a look: its directory, plan (None: unreadable), the step to look at, seconds since the epoch."""

    path: str
    plan: Plan | None
    step: str
    since: float


class Workdir:
    """The directory that holds the task directories of one user's engine."""

    def __init__(self, path: str) -> None:
        """Make it (0700) if need be. BadInput when it belongs to somebody else, others may write to it, it lies where
        nothing may be mounted from, or podman's command line cannot express the paths below it (mounts and logs)."""
        self.path = os.path.abspath(path)
        if found := [sign for sign in (MOUNT_SEPARATOR, *LOG_SEPARATORS) if sign in self.path]:
            trouble = f"{self.path!r} has {found[0]!r} in its name, which podman's command line cannot express"
            raise BadInput([Problem("settings", "workdir", trouble, "name another directory")])
        if complaint := workdir_complaint(self.path):
            raise BadInput([Problem("settings", "workdir", *complaint)])
        try:
            os.makedirs(self.path, mode=0o700, exist_ok=True)
            info = os.lstat(self.path)
        except OSError as error:
            raise _cannot("make the work directory", self.path, error, cure="name another directory") from None
        trouble = ""
        if not stat.S_ISDIR(info.st_mode):
            trouble = "is not a directory"
        elif info.st_uid != os.geteuid():
            trouble = f"belongs to uid {info.st_uid}, not to the user running this"
        elif info.st_mode & 0o022:
            trouble = "can be written to by others"
        if trouble:
            problem = Problem("settings", "workdir", f"{self.path} {trouble}", "name another directory")
            raise BadInput([problem])

    def claim(self, task_id: int | None = None) -> TaskDirectory:
        """A new directory for `task_id`, or for the next free number; locked until closed or removed."""
        with self._locked():
            number = task_id if task_id is not None else max([0, *self.ids()]) + 1
            path = os.path.join(self.path, str(number))
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                why = f"{path} exists: the task runs here already, was kept, or was left by a dead process"
                raise InfrastructureError(why) from None
            except OSError as error:
                raise _cannot("make", path, error) from None
            try:
                return TaskDirectory(path, number, new=True)
            except OSError as error:
                with suppress(OSError):
                    os.rmdir(path)
                raise _cannot("lock", path, error) from None

    def open(self, task_id: int) -> TaskDirectory | None:
        """An existing directory with its lock; None when there is none or a live process holds it."""
        try:
            return TaskDirectory(os.path.join(self.path, str(task_id)), task_id)
        except (FileNotFoundError, BlockingIOError):
            return None

    def ids(self) -> list[int]:
        """Numbers of all task directories, sorted."""
        return sorted(int(name) for name in os.listdir(self.path) if name.isascii() and name.isdigit())

    def kept(self) -> dict[int, KeptTask]:
        """The tasks that were kept, by number."""
        found: dict[int, KeptTask] = {}
        for number in self.ids():
            folder = os.path.join(self.path, str(number))
            with suppress(OSError), open(os.path.join(folder, KEPT), encoding="utf-8") as mark:
                since = os.fstat(mark.fileno()).st_mtime
                found[number] = KeptTask(folder, _read_plan(folder), mark.read(), since)
        return found

    def abandoned(self) -> list[TaskDirectory]:
        """Directories of processes that died, each now locked by this one."""
        found = []
        with self._locked():
            kept = self.kept()
            for number in self.ids():
                if number in kept:
                    continue
                if directory := self.open(number):
                    found.append(directory)
                else:
                    with suppress(OSError):  # empty, so its process died while making or removing it
                        os.rmdir(os.path.join(self.path, str(number)))
        return found

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Between making a directory and locking it, it would look abandoned.
        try:
            lock = os.open(os.path.join(self.path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _cannot("write to", self.path, error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


class TaskDirectory:
    """One task's directory, locked. Implements `engine.runner.ports.WorkspaceFiles`."""

    def __init__(self, path: str, task_id: int, *, new: bool = False) -> None:
        self.path, self.task_id = path, task_id
        self._logs: dict[str, FileLog] = {}
        self._watched: list[str] = []
        self.root = paths.open_root(path)
        try:
            # Only the maker makes the lock: one made again while the directory is being removed would stay.
            made = os.O_CREAT | os.O_EXCL if new else 0
            self._lock = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | made, 0o600, dir_fd=self.root)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(self._lock)
                raise
        except BaseException:
            os.close(self.root)
            raise

    def prepare(self, directories: Iterable[str]) -> None:
        """Make the plan's directories; those that containers write to are open to container uid 1000."""
        for path in directories:
            with self._naming("make", path):
                writable = path.split("/", 1)[0] not in PRIVATE
                paths.make_directories(self.root, path, 0o777 if writable else 0o755)
                if writable and os.geteuid() == 0:
                    with paths.directory(self.root, path) as made:
                        os.fchown(made, CONTAINER_UID, CONTAINER_GID)

    def write(self, path: str, chunks: Iterable[bytes], mode: int = 0o644) -> tuple[int, str]:
        """Write a new file; its size in bytes and the sha256 of its content."""
        digest, size = hashlib.sha256(), 0
        with self._naming("write", path):
            paths.make_directories(self.root, os.path.dirname(path))
            with open(paths.open_new(self.root, path, mode), "wb", buffering=0) as file:
                for chunk in chunks:
                    rest = memoryview(chunk)
                    while rest:
                        rest = rest[file.write(rest) :]
                    digest.update(chunk)
                    size += len(chunk)
        return size, digest.hexdigest()

    def read(self, path: str, start: int, most: int) -> bytes:
        """At most `most` bytes, from byte `start` on, of a regular file reached without links; else none."""
        try:
            file = paths.open_regular(self.root, path)
        except OSError:
            return b""
        try:
            return os.pread(file, most, start)
        except OSError:
            return b""
        finally:
            os.close(file)

    def log(self, name: str, limit: int) -> FileLog:
        """The log `name`, opened to be added to; at most `limit` bytes in all."""
        if name not in self._logs:
            with self._naming("write", f"logs/{name}"):
                self._logs[name] = FileLog(os.path.join(self.path, "logs", name), limit)
        return self._logs[name]

    def forget(self, path: str) -> None:
        """Remove a file of podman's in ``logs/``, given by its host path; absent is fine."""
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self.path, "logs", os.path.basename(path)))

    def scan(self, artifacts: Iterable[Artifact]) -> list[FoundFile]:
        """Every file that could be one of `artifacts`."""
        with self._naming("read", ""):
            return scan(self.root, tuple(artifacts))

    def watch(self, path: str) -> None:
        """Count the file system of `path` among `disks` too, if this user can look at it."""
        with suppress(OSError):
            os.statvfs(path)
            self._watched.append(path)

    def disks(self) -> tuple[DiskSpace, ...]:
        """Room on the file systems that the steps write to."""
        found = [_space(self.path, os.fstatvfs(self.root))]
        for path in self._watched:
            with suppress(OSError):
                found.append(_space(path, os.statvfs(path)))
        return tuple(found)

    def record(self, plan: Plan) -> None:
        """Write down what runs here."""
        self.write(PLAN, [json.dumps(plan.data()).encode()], 0o600)

    def plan(self) -> Plan | None:
        """What was written down; None when nothing was."""
        return _read_plan(self.path)

    def keep(self, step: str) -> None:
        """Mark the directory as kept, `step` as the one to look at, and let the lock go."""
        with suppress(FileNotFoundError):
            os.unlink(KEPT, dir_fd=self.root)
        self.write(KEPT, [step.encode()], 0o600)
        self.close()

    def close(self) -> None:
        """Let the lock go; the directory stays."""
        for log in self._logs.values():
            log.close()
        os.close(self.root)
        os.close(self._lock)

    def remove(self, scrub: Callable[[], None] | None = None) -> None:
        """Remove the directory and let the lock go.

        `scrub` is called when files are in the way that this user may not remove (rootless: files of other
        container users); it must remove what containers wrote. InfrastructureError when something stays.
        """
        try:
            try:
                self._empty()
            except PermissionError:
                if scrub is None:
                    raise
                scrub()
                self._empty()
            with suppress(FileNotFoundError):
                os.rmdir(self.path)
        except OSError as error:
            raise _cannot("remove", self.path, error) from None
        finally:
            self.close()

    def _empty(self) -> None:
        # The mark goes first and the lock last: a killed removal is taken up again by the next process.
        for name in sorted(os.listdir(self.root), key=lambda name: (name != KEPT, name == PLAN, name == LOCK)):
            if stat.S_ISDIR(os.stat(name, dir_fd=self.root, follow_symlinks=False).st_mode):
                with paths.directory(self.root, name) as below:
                    paths.empty(below)
                os.rmdir(name, dir_fd=self.root)
            else:
                os.unlink(name, dir_fd=self.root)

    @contextmanager
    def _naming(self, doing: str, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.trouble(doing, path, error) from None

    def trouble(self, doing: str, path: str, error: OSError) -> InfrastructureError:
        """`error` in words, with the room left on the disk where that is the reason."""
        return _cannot(doing, os.path.join(self.path, path) if path else self.path, error)


def _cannot(doing: str, path: str, error: OSError, cure: str = "") -> InfrastructureError:
    why = error.strerror or str(error)
    if error.errno in DISK_ERRNOS:
        with suppress(OSError):
            place = path if os.path.isdir(path) else os.path.dirname(path)
            why = f"disk full: {disk_words(_space(place, os.statvfs(place)))}"
    return InfrastructureError(f"cannot {doing} {path}: {why}" + (f" ({cure})" if cure else ""))


def _read_plan(folder: str) -> Plan | None:
    with suppress(OSError, ValueError, BadInput), open(os.path.join(folder, PLAN), encoding="utf-8") as file:
        return structure(json.load(file), Plan, folder)
    return None


def _space(path: str, room: os.statvfs_result) -> DiskSpace:
    # Some file systems have no fixed number of inodes and say 0 of 0.
    inodes = room.f_favail if room.f_files else 1 << 30
    return DiskSpace(path=path, bytes=room.f_bavail * room.f_frsize, inodes=inodes)
