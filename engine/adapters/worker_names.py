"""Which workers of this user live on this host, by the name that their containers are labelled with.

Two workers of one name would take each other's containers for leftovers. Each holds a lock on a file of its name, in
which its work directory is written; the lock goes with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from pathlib import Path

from engine.core.errors import InfrastructureError


def directory() -> Path:
    """Where the files are: the user's run-time directory, or one of its own below the temporary directory."""
    run = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if run.is_absolute() and os.access(run, os.W_OK):
        return run / "koji-adjutant"
    return Path(tempfile.gettempdir(), f"koji-adjutant-{os.geteuid()}")


class WorkerName:
    """The name `worker_id`, held from `take` to `release` or the end of the process."""

    def __init__(self, worker_id: str, workdir: str, where: Path | None = None) -> None:
        self._workdir, self._path = workdir, (where or directory()) / f"{worker_id}.worker"
        self._file: int | None = None

    def take(self) -> None:
        """InfrastructureError when a worker of that name lives elsewhere, or the file cannot be written.

        The directory may lie where everybody can make one of its name: it must be this user's.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            owner = self._path.parent.lstat().st_uid
            if owner != os.geteuid():
                raise PermissionError(errno.EPERM, f"the directory belongs to uid {owner}")
            self._take()
        except OSError as error:
            why = f"cannot write {self._path}: {error.strerror or error}"
            raise InfrastructureError(f"{why} (correct it, or set XDG_RUNTIME_DIR)") from None

    def _take(self) -> None:
        opened = self._locked()
        while not _is_at(opened, self._path):  # one that ended just now took its file along
            os.close(opened)
            opened = self._locked()
        self._file = opened
        os.ftruncate(opened, 0)
        os.pwrite(opened, os.path.realpath(self._workdir).encode(), 0)

    def _locked(self) -> int:
        opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(opened)
            name, other = self._path.stem, self._path.read_text(errors="replace")
            why = f"a worker named '{name}' runs on this host already, with the work directory {other}"
            raise InfrastructureError(f"{why} (give one of them another worker.id)") from None
        return opened

    def release(self) -> None:
        """Let go, and take the file along."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # its lock is what counts
                self._path.unlink()
            os.close(self._file)
            self._file = None


def _is_at(opened: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(opened), path.stat())
    except FileNotFoundError:
        return False


def elsewhere(worker_id: str, workdir: str, where: Path | None = None) -> str | None:
    """The work directory of the living worker of that name, when it is another one than `workdir`; else None."""
    path = (where or directory()) / f"{worker_id}.worker"
    with contextlib.suppress(OSError):
        opened = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            other = path.read_text(errors="replace")
            return other if other != os.path.realpath(workdir) else None
        finally:
            os.close(opened)
    return None
