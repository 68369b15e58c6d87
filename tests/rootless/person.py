"""An unprivileged user of this host, made for the tests: account, subordinate ids, podman storage, one image."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from tests.podmanhost import podman
from tests.rootless.opening import OPENING, closed_paths
from tools import standin

ROOT = Path(__file__).parents[2]
TUN = Path("/dev/net/tun")
INSIDE = f"""set -eu
[ -z "$0" ] || mount --bind "$0" /dev/net/tun
{OPENING}
exec "$@"
"""


class Person:
    """`run` runs a program as the user; `close` removes the user and everything that is hers.

    `network` says whether her containers can have one. Where the host keeps /dev/net/tun from users, her processes
    get one of their own, in a mount namespace of their own: nothing of the host is changed.
    """

    def __init__(self, folder: Path, kind: str = "t") -> None:
        """Below `folder`; `kind` tells users of one session apart."""
        if os.geteuid() != 0:
            pytest.skip("making a user needs root")
        for program in ("useradd", "userdel", "setpriv", "newuidmap"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
        self.name = f"adjutant-{kind}{os.getpid()}"[:31]
        self.home = folder / "home"
        subprocess.run(["useradd", "--home-dir", str(self.home), "--create-home", self.name], check=True)
        self.uid = pwd.getpwnam(self.name).pw_uid
        self.runtime = folder / "run"
        self.runtime.mkdir(mode=0o700)
        config = self.home / ".config/containers"
        config.mkdir(parents=True)
        (config / "storage.conf").write_text('[storage]\ndriver = "overlay"\n')
        conf = standin.containers_conf()
        self.environ = {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "USER": self.name,
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if conf is not None:
            (config / "used.conf").write_text(conf.read_text())
            self.environ["CONTAINERS_CONF"] = str(config / "used.conf")
        for path in (self.runtime, *self.home.rglob("*"), self.home):
            os.chown(path, self.uid, self.uid)
        self._tun: Path | None = None
        self.network = self._tunnel(folder / "tun")
        self.python = self._python()

    def _tunnel(self, node: Path) -> bool:
        """Whether she can make a tunnel device, and with what: the host's, or a node of her own."""
        if not TUN.exists() or not any(map(shutil.which, ("slirp4netns", "pasta"))):
            return False
        if not os.access(TUN, os.R_OK | os.W_OK) or TUN.stat().st_mode & 0o006 != 0o006:
            try:
                os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(10, 200))
                node.chmod(0o666)
            except OSError:
                return False
            self._tun = node
        return self.run("sh", "-c", f"exec 3<>{TUN}", check=False).returncode == 0

    def _python(self) -> str:
        """A python of our own version that the user may run (ours may lie in a home directory)."""
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        for program in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
            if self.run(program, "-c", "import attrs, click, podman", check=False).returncode == 0:
                return program
        self.close()
        pytest.skip(f"the user may not run {sys.executable}, and there is no other {version}")

    def command(self, *words: str | Path) -> list[str]:
        """What root runs to run `words` as the user; one process."""
        became = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "--inh-caps=-all"]
        opened = " ".join(closed_paths())
        inside = ["env", f"OPEN={opened}", "unshare", "--mount", "--propagation", "private", "sh", "-c", INSIDE]
        inside.append(str(self._tun or ""))
        return [*(inside if self._tun or opened else []), *became, *map(str, words)]

    def run(
        self, *words: str | Path, check: bool = True, timeout: float = 200, stdin: int | None = subprocess.DEVNULL
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as the user in her home directory."""
        try:
            done = subprocess.run(
                self.command(*words), cwd=self.home, env=self.environ, capture_output=True, text=True,
                timeout=timeout, check=False, stdin=stdin,
            )  # fmt: skip
        except OSError as error:
            return subprocess.CompletedProcess(words, 127, "", str(error))
        if check and done.returncode:
            raise AssertionError(
                f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
            )
        return done

    def engine(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """The engine's command line as the user."""
        return self.run(self.python, "-m", "engine.cli", *words, check=check)

    def copy_image(self, image: str) -> None:
        """Bring an image of root's storage into the user's."""
        archive = self.home / "image.tar"
        podman("save", "--quiet", "--output", archive, image)
        os.chown(archive, self.uid, self.uid)
        self.run("podman", "load", "--quiet", "--input", archive)
        archive.unlink()

    def processes(self) -> list[int]:
        """Her processes, by number."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and entry.stat().st_uid == self.uid:
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        """End her processes (podman's pause process), remove account and files."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            end = time.monotonic() + (0.3 if number == signal.SIGTERM else 20)
            while (pids := self.processes()) and time.monotonic() < end:  # userdel refuses while there are some
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                time.sleep(0.1)
        subprocess.run(["userdel", self.name], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.rmtree(self.runtime, ignore_errors=True)
