"""A machine whose PID 1 is systemd, made of this host by machine.sh: for units, as no fake systemd can run them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ROOT", "Machine", "why_no_machine", "why_no_user_manager"]

ROOT = Path(__file__).parents[2]
_PROGRAMS = ("unshare", "nsenter", "setpriv", "systemctl", "systemd-analyze")
_SYSTEMD = Path("/lib/systemd/systemd")


def why_no_machine() -> str:
    """What is missing for one; empty when nothing is."""
    if os.geteuid() != 0:
        return "making a machine with systemd needs root"
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or not _SYSTEMD.exists():
        return f"systemd is not installed ({', '.join(missing) or _SYSTEMD})"
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return "machine.sh knows control groups of version 1 only"
    if "name=systemd" not in Path("/proc/self/cgroup").read_text():
        return "this host has no hierarchy of control groups for systemd"
    probe = subprocess.run(
        [
            "unshare",
            "--mount",
            "--pid",
            "--cgroup",
            "--uts",
            "--ipc",
            "--fork",
            "mount",
            "-t",
            "tmpfs",
            "probe",
            "/mnt",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"new namespaces are refused here: {probe.stderr.strip()}" if probe.returncode else ""


def why_no_user_manager() -> str:
    """What is missing for the service manager of a user who lingers; empty when nothing is."""
    modules = [*Path("/lib").glob("*/security/pam_systemd.so"), *Path("/usr/lib64/security").glob("pam_systemd.so")]
    if not modules or not Path("/usr/lib/systemd/user/dbus.socket").exists():
        return "no service manager for users (Debian: libpam-systemd, dbus-user-session)"
    missing = [name for name in ("useradd", "newuidmap") if shutil.which(name) is None]
    return f"{missing} not installed" if missing else ""


class Machine:
    """`run` runs a program in it as root; `close` ends it. `console` is what its systemd says."""

    def __init__(self, folder: Path, shared: Sequence[Path] = ()) -> None:
        """Boot it with an empty, new `folder` for its mount point. `shared`: directories it has with the host."""
        self.name = f"adjutant-machine-{os.getpid()}-{time.monotonic_ns()}"
        self.console = folder / "console"
        base = folder / "base"
        base.mkdir(parents=True)
        places = dict.fromkeys([ROOT, Path(sys.base_prefix), *shared])
        with self.console.open("ab") as console:
            self._outer = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--",
                 Path(__file__).with_name("machine.sh"), self.name, base, *(p for p in places if p != Path("/usr"))],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip
        try:
            self._wait_until_up()
        except BaseException:
            self.close()
            raise

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 60
        while self._outer.poll() is None and time.monotonic() < deadline:
            self.pid = self._first_process()
            if self.pid and self.run("systemctl", "is-active", "basic.target", check=False).stdout == "active\n":
                self.run("umount", "--lazy", "/proc/sys")  # with it, no user namespace may have a /proc
                return
            time.sleep(0.1)
        msg = f"the machine did not come up:\n{self.console.read_text()}"
        raise RuntimeError(msg)

    def _first_process(self) -> int:
        """The number that PID 1 has on the host, 0 while there is none or it is not systemd yet."""
        number = self._outer.pid
        with contextlib.suppress(OSError, IndexError):
            child = int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])
            return child if Path(f"/proc/{child}/comm").read_text() == "systemd\n" else 0
        return 0

    def command(self, *words: str | Path) -> list[str]:
        """What the host runs to run `words` in the machine."""
        return ["nsenter", "--target", str(self.pid), "--all", "--", *map(str, words)]

    def run(
        self, *words: str | Path, check: bool = True, stdin: bytes = b"", timeout: float = 100
    ) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        got = subprocess.run(
            self.command(*words), input=stdin, env=environ, capture_output=True, timeout=timeout, check=False
        )
        done = subprocess.CompletedProcess(words, got.returncode, got.stdout.decode(), got.stderr.decode())
        if check and done.returncode:
            raise AssertionError(f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """A file in the machine, with its directories."""
        self.run("install", "-D", "-m", mode, "/dev/stdin", path, stdin=text.encode())

    def close(self) -> None:
        """End it with all its processes, and remove its control groups."""
        first = self._first_process()
        if first:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, signal.SIGKILL)  # the kernel ends the rest
        self._outer.kill()
        self._outer.wait()
        deadline = time.monotonic() + 10
        for top in (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if "cgroup" in line):
            mine = Path(top, self.name)
            while mine.is_dir():
                for inner in sorted((each for each in mine.rglob("*") if each.is_dir()), reverse=True):
                    with contextlib.suppress(OSError):
                        inner.rmdir()
                with contextlib.suppress(OSError):
                    mine.rmdir()
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
