"""Where podman answers: the user's own socket, or a private service of ours where there is none."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from engine.adapters.leftover_services import OWNER, PREFIX
from engine.adapters.podman_host import needed_conf
from engine.core.errors import ContainerError

logger = logging.getLogger(__name__)

IDLE_SECONDS = 600
"""A private service ends by itself this long after its last request, should its owner have been killed.
`PodmanService.ensure` starts it again when it is needed."""

_START_SECONDS = 30.0
_CURE = "start podman's socket: systemctl --user start podman.socket, or as root systemctl start podman.socket"


class PodmanService:
    """A podman socket that answers. `url` is ``unix://PATH`` (or what the setting says); `cure` helps when it does not.

    Order: `socket` (a setting), ``CONTAINER_HOST``, root's or the user's own socket if it answers, else a private
    service: its socket lies in a new 0700 directory, which is also its working directory; it ends with
    `close`. `environ` is the process's environment; podman gets all of it (CONTAINERS_CONF and the like).
    """

    def __init__(
        self, socket: str | None = None, *, environ: Mapping[str, str] | None = None, podman: str = "podman"
    ) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._podman = podman
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None
        self._maker = os.getpid()
        given = socket or self._environ.get("CONTAINER_HOST")
        found = _url(given) if given else self._own_socket()
        self.private = found is None
        self.cure = "" if self.private else _CURE
        self.url = found or self._private_url()

    def ensure(self) -> None:
        """Start the private service if it is not running. Raises ContainerError with what podman said.

        For a socket that is not ours: OSError when nothing listens there. (podman-py would find out, too, but then
        leaves a socket open.)
        """
        path = Path(self.url.removeprefix("unix://"))
        if self._directory is None:
            if self.url.startswith("unix://"):
                _connect(path)
            return
        with self._lock:
            if answers(path):
                return
            # A forked worker shares the directory: only one of the processes may start the service.
            with open(self._directory / "lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not answers(path):
                    self._start(path)

    def close(self) -> None:
        """End the private service; containers go on (conmon keeps them). In a forked child: nothing."""
        if self._directory is None or os.getpid() != self._maker:
            return
        with self._lock:
            self._end()
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def pid(self) -> int | None:
        """Process id of the private service while it runs, else None."""
        if self._directory is None:
            return None
        try:
            pid = int((self._directory / "pid").read_text())
            ours = os.fsencode(self._directory) in Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if ours else None

    def _end(self) -> None:
        """End the service, whichever process of ours started it last."""
        if self._child is not None and self._child.poll() is not None:  # dead: now reaped, too
            self._child = None
        pid = self.pid()
        mine = pid is not None
        for number in (signal.SIGTERM, signal.SIGKILL):
            if mine and pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                mine = not self._gone(pid, 10.0)

    def _gone(self, pid: int, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._child is not None and self._child.pid == pid:
                if self._child.poll() is not None:  # reaps it, too
                    return True
            elif not Path(f"/proc/{pid}").exists():
                return True
            time.sleep(0.01)
        return False

    def _own_socket(self) -> str | None:
        """The socket systemd offers: only that of the same user, whose containers and storage are ours."""
        run = "/run" if os.geteuid() == 0 else self._environ.get("XDG_RUNTIME_DIR")
        path = Path(run or "/nonexistent", "podman", "podman.sock")
        return f"unix://{path}" if answers(path) else None

    def _private_url(self) -> str:
        self._directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        path = self._directory / "podman.sock"
        if len(bytes(path)) > 100:  # the kernel's limit for a socket's path is 107 bytes
            self._directory.rmdir()
            self._directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))  # noqa: S108
            path = self._directory / "podman.sock"
        (self._directory / OWNER).write_text(str(self._maker))  # so that gc can tell when we died
        return f"unix://{path}"

    def _start(self, path: Path) -> None:
        if self._directory is None:  # closed
            return
        self._end()  # hangs without answering, or is dead and must be reaped
        output = self._directory / "service.log"
        environ = self._environ
        if conf := needed_conf(environ):
            (self._directory / "containers.conf").write_text(conf)
            environ = {**environ, "CONTAINERS_CONF": str(self._directory / "containers.conf")}
        # A new session: Ctrl-C must reach us, who still need podman to clean up.
        with open(output, "ab") as log:
            try:
                child = subprocess.Popen(
                    [self._podman, "system", "service", f"--time={IDLE_SECONDS}", f"unix://{path}"],
                    cwd=self._directory,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise ContainerError(
                    "start", "podman's service", str(error), cure="install podman (Debian, Fedora: package podman)"
                ) from None
        self._child = child
        (self._directory / "pid").write_text(str(child.pid))
        end = time.monotonic() + _START_SECONDS
        while not answers(path):
            if child.poll() is not None or time.monotonic() > end:
                why = output.read_text(errors="replace").strip()[-2000:] or f"exit status {child.returncode}"
                raise ContainerError("start", "podman's service", why, cure="check `podman info` as this user")
            time.sleep(0.02)
        logger.debug("private podman service %d at %s", child.pid, path)


def answers(path: Path) -> bool:
    """True when something listens at the unix socket `path`."""
    try:
        _connect(path)
    except OSError:
        return False
    return True


def _connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        probe.connect(str(path))


def _url(text: str) -> str:
    return f"unix://{text}" if text.startswith("/") else text
