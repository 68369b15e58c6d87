"""The worker's unit in a machine: installed as docs/install.md says, asked and told by systemctl."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import tomli_w

from tests.hub import HubStandIn
from tests.podmanhost import podman
from tests.systemd.machine import ROOT, Machine
from tests.worker.workshop import WorkerProcess, wait_for

NAME = "koji-adjutant.service"
CONFIG = "/etc/koji-adjutant/worker.toml"
PACKAGED = ROOT / "packaging/systemd"


class Unit:
    """The system unit, for host builder1. `settings` is worker.toml; `configure` writes it."""

    kind = "system"

    def __init__(self, machine: Machine, hub: HubStandIn, image: str, recipes: Path, folder: Path) -> None:
        self.machine, self.hub, self.recipes = machine, hub, recipes
        self.settings = WorkerProcess(hub, folder, image, user="builder1", recipes=recipes).settings
        self.settings["hub"]["workdir"] = self.workdir = "/var/tmp/koji-adjutant"
        self.prepare()
        machine.write(f"/etc/systemd/{self.kind}/{NAME}", (PACKAGED / self.kind / NAME).read_text())
        archive = folder / "image.tar"
        podman("save", "--quiet", "--output", archive, image)
        self.run("podman", "load", "--quiet", stdin=archive.read_bytes())

    def prepare(self) -> None:
        """What comes before the unit."""

    def run(self, *words: str, check: bool = True, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run a program in the machine as the unit's user."""
        return self.machine.run(*words, check=check, stdin=stdin)

    def configure(self, drop_in: str = "") -> None:
        """Write worker.toml and, for the unit, a drop-in with these lines of [Service]."""
        self.machine.write(CONFIG, tomli_w.dumps(self.settings), "600")
        self.machine.write(f"/etc/systemd/{self.kind}/{NAME}.d/tests.conf", f"[Service]\n{drop_in}\n")
        self.systemctl("daemon-reload")

    def systemctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("systemctl", "--no-pager", *words, check=check)

    def start(self) -> None:
        """Start it and wait for READY, as `systemctl start` does."""
        done = self.systemctl("start", NAME, check=False)
        assert done.returncode == 0, done.stderr + self.machine.run("journalctl", "--no-pager").stdout

    def show(self, name: str) -> str:
        """A property of the unit."""
        return self.systemctl("show", "--value", f"--property={name}", NAME).stdout.strip()

    def wait(self, timeout: float = 60, **wanted: str) -> None:
        """Until the properties have these values."""
        wait_for(
            lambda: all(self.show(name) == value for name, value in wanted.items()),
            timeout,
            f"{wanted} did not come:\n{self.systemctl('show', NAME).stdout}{self.journal()}",
        )

    @property
    def pid(self) -> int:
        """The daemon's, in the machine."""
        return int(self.show("MainPID"))

    def kill(self, signal: str) -> None:
        """Send the daemon, and it alone, a signal."""
        self.systemctl("kill", "--kill-who=main", f"--signal={signal}", NAME)

    def journal(self) -> str:
        return self.machine.run("journalctl", "--no-pager", "--output=cat", f"--unit={NAME}").stdout

    def containers(self, form: str = "{{.Names}}") -> list[str]:
        return self.run("podman", "ps", "--all", "--format", form).stdout.split()

    def workspaces(self) -> list[str]:
        return [name for name in self.machine.run("ls", self.workdir).stdout.split() if name.isdecimal()]

    def assert_nothing_left(self) -> None:
        """No container, no directory of a task; if it is not active, no process of the unit."""
        assert self.containers() == []
        assert self.workspaces() == []
        if self.show("ActiveState") != "active":
            assert self.machine.run("pgrep", "--full", "engine|podman|conmon", check=False).stdout == ""


class UserUnit(Unit):
    """The user unit, of koji-adjutant in the machine, who lingers."""

    kind = "user"
    user = "koji-adjutant"
    uid = "59341"  # of nobody on the host: tests there look for processes by user

    def prepare(self) -> None:
        """docs/install.md, step 3, with a home and an id of the machine."""
        self.workdir = self.settings["hub"]["workdir"] = f"/home/{self.user}/work"
        self.settings["adjutant_network_enabled"] = False
        machine = self.machine
        machine.run("useradd", "--create-home", "--uid", self.uid, "--shell", "/usr/sbin/nologin", self.user)
        machine.run("mount", "-t", "tmpfs", "home", f"/home/{self.user}")  # no overlay on the machine's own
        machine.write(f"/home/{self.user}/.config/containers/storage.conf", '[storage]\ndriver = "overlay"\n')
        machine.run("chown", "-R", f"{self.user}:", f"/home/{self.user}")
        for place in ROOT, Path(sys.prefix), Path(sys.base_prefix), Path(self.hub.topdir), self.recipes:
            machine.run("chmod", "a+x", *place.parents)
        machine.run("loginctl", "enable-linger", self.user)
        wait_for(lambda: self.systemctl("is-active", "default.target", check=False).stdout == "active\n", 30)

    def run(self, *words: str, check: bool = True, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        home = f"/home/{self.user}"
        became = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", "env", "-C", home]
        known = [f"HOME={home}", f"XDG_RUNTIME_DIR=/run/user/{self.uid}", f"USER={self.user}"]
        return self.machine.run(*became, *known, *words, check=check, stdin=stdin)

    def configure(self, drop_in: str = "") -> None:
        super().configure(drop_in)
        self.machine.run("chown", f"{self.user}:", CONFIG)

    def systemctl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.machine.run("systemctl", "--user", f"--machine={self.user}@", "--no-pager", *words, check=check)

    def journal(self) -> str:
        words = ["journalctl", "--no-pager", "--output=cat", f"_UID={self.uid}", f"--user-unit={NAME}"]
        return self.machine.run(*words).stdout
