"""Processes of the worker: dying with the daemon, being the one meant, jobs on the side that must not block it."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies, however it dies; end at once if it is dead already.

    A task process without its daemon could close a task that the hub has given out again: there is no run
    id (contract/observed.md).
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def start_time(pid: int) -> int | None:
    """When `pid` was started, in clock ticks since boot: with the pid it names one process. None: not there."""
    with suppress(OSError, ValueError, IndexError):
        # The command in parentheses may hold blanks and parentheses itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in {"Z", "X"} else int(fields[19])
    return None


def is_running(pid: int, started: int) -> bool:
    """True when the process that had this pid and start time still runs."""
    return start_time(pid) == started


def kill_group(pid: int) -> None:
    """SIGKILL to the process group that `pid` leads, if it is there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class SideJob:
    """A function run in a forked process, so that podman, however slow, never keeps the daemon from the hub.

    Its words (an error, or nothing) are read from a pipe when it ended; `limit` seconds, then it is killed.
    """

    def __init__(self, work: Callable[[], None], limit: float) -> None:
        reading, writing = os.pipe()
        daemon = os.getpid()
        self._deadline = time.monotonic() + limit
        self._pipe = reading
        self.result: str | None = None
        try:
            self.pid = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            self.result = f"no process can be started: {error.strerror}"
            return
        if self.pid:
            os.close(writing)
            return
        words = "ended without a word"
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon to handle
            die_with_parent(daemon)
            os.close(reading)
            work()
            words = ""
        except BaseException as error:  # noqa: BLE001 - told to the daemon, which decides
            words = str(error) or type(error).__name__
        finally:
            os.write(writing, (words[:4000] or "\0").encode())
            os._exit(0)

    def ended(self) -> bool:
        """Look without waiting. After True, `result` is the error, "" for none."""
        if self.result is not None:
            return True
        if time.monotonic() > self._deadline:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return self._end("took too long")
        done, _status = os.waitpid(self.pid, os.WNOHANG)
        if not done:
            return False
        return self._end(os.read(self._pipe, 8192).decode(errors="replace") or "was killed")

    def kill(self) -> None:
        """End it now."""
        if self.result is None:
            self._deadline = 0.0
            self.ended()

    def wait(self) -> str:
        """Wait for the end, `limit` at most; the error, "" for none."""
        while not self.ended():
            time.sleep(0.05)
        return self.result or ""

    def _end(self, words: str) -> bool:
        os.close(self._pipe)
        self.result = "" if words == "\0" else words
        return True
