"""The commands of docs/install.md, from the first to the uninstallation, in a machine, for a worker that is no root."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import tomli_w

from tests.hub import HubStandIn
from tests.podmanhost import podman
from tests.systemd.machine import ROOT, Machine, why_no_user_manager
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = [pytest.mark.hub, pytest.mark.podman]
DOCUMENT = ROOT / "docs/install.md"
CONFIG = "/etc/koji-adjutant/worker.toml"
VERSION = "/opt/koji-adjutant/0.1.0"
USER = "koji-adjutant"
UID = "59342"  # of nobody on the host: tests there look for processes by user


def blocks(heading: str) -> list[str]:
    """The blocks marked `sh` of one section."""
    section = DOCUMENT.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    assert found, heading
    return found


class Shell:
    """Root's shell in the machine: what one block defines, the next one has."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.before = machine, "set -eu\n"

    def __call__(self, block: str) -> str:
        done = self.machine.run("bash", "-c", f"{self.before}exec 2>&1\n{block}", check=False, timeout=200)
        journal = self.machine.run("journalctl", "--no-pager", "--output=cat").stdout if done.returncode else ""
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}\n{journal[-6000:]}"
        self.before += "".join(line + "\n" for line in block.splitlines() if re.match(r"\w+\(\) \{|\w+=", line))
        return done.stdout


@pytest.fixture
def shell(machine: Machine) -> Shell:
    """In a machine where what is marked `console` was done: the engine is there, and a kojid was set up once."""
    if why_no_user_manager():
        pytest.skip(why_no_user_manager())
    machine.run("rm", "/usr/bin/engine")
    machine.run("mkdir", "-p", f"{VERSION}/bin", f"{VERSION}/share/koji-adjutant")
    machine.run("ln", "-s", Path(sys.prefix, "bin/engine"), f"{VERSION}/bin/engine")
    machine.run("ln", "-s", ROOT / "packaging", f"{VERSION}/share/koji-adjutant/packaging")
    machine.write("/etc/systemd/system/kojid.service", "[Service]\nExecStart=/bin/sleep 10000\n[Install]\n"
                  "WantedBy=multi-user.target\n")  # fmt: skip
    machine.run("systemctl", "enable", "--now", "kojid")
    machine.write("/etc/kojid/kojid.keytab", "in place of one", "600")
    # No overlay on the machine's own, which is one; and a number that nobody on the host has.
    machine.run("mount", "-t", "tmpfs", "home", "/home")
    machine.run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmp", "/var/tmp")
    machine.write("/etc/default/useradd", "")
    machine.write("/etc/skel/.config/containers/storage.conf", '[storage]\ndriver = "overlay"\n')
    machine.run("sed", "-i", f"s/^UID_MIN.*/UID_MIN {UID}/", "/etc/login.defs")
    return Shell(machine)


def test_from_nothing_to_nothing(
    shell: Shell, hub: HubStandIn, toy_image: str, toy_recipes: Path, tmp_path: Path
) -> None:
    machine = shell.machine
    settings = WorkerProcess(hub, tmp_path / "unit", toy_image, user="builder1", recipes=toy_recipes).settings
    settings["hub"].pop("workdir")
    settings["adjutant_network_enabled"] = False
    texts = {name: value for name, value in settings["hub"].items() if isinstance(value, str | int)}
    conf = "".join(f"{name} = {value}\n" for name, value in texts.items())
    machine.write("/etc/kojid/kojid.conf", f"[kojid]\n{conf}mockdir = /var/lib/mock\n", "600")
    for place in ROOT, Path(sys.prefix), Path(sys.base_prefix), Path(hub.topdir), toy_recipes:
        machine.run("chmod", "a+x", *place.parents)

    link, user, call, convert, *rest = blocks("Install")
    assert "engine, version" in shell(link)
    shell(user)
    assert machine.run("stat", "--format=%U %a", "/etc/koji-adjutant").stdout == f"{USER} 700\n"
    shell(call)
    assert "not carried over: /etc/kojid/kojid.conf: mockdir" in shell(convert)
    assert machine.run("stat", "--format=%U %a", CONFIG).stdout == f"{USER} 600\n"
    # The person's own edits, and an image.
    machine.write(CONFIG, tomli_w.dumps(settings), "600")
    machine.run("chown", f"{USER}:", CONFIG)
    archive = tmp_path / "image.tar"
    podman("save", "--quiet", "--output", archive, toy_image)
    archive.chmod(0o644)
    machine.run("chmod", "a+x", *archive.parents)
    shell(f"as_worker podman load --quiet --input {archive}")

    look, change = rest
    said = shell(look)
    assert "host builder1: enabled" in said
    assert f"note: /etc/kojid/kojid.conf: cannot be read by uid {UID}, not used" in said
    assert "state     ready" in shell(change)
    assert machine.run("systemctl", "is-enabled", "kojid", check=False).stdout == "disabled\n"
    assert not machine.run("systemctl", "is-active", "kojid", check=False).stdout.startswith("active")
    task = hub.make_task("toy", ["hello"])
    assert hub.wait_task(task)["state_name"] == "CLOSED"

    # Other people of the host: a builder's files are closed to them, which is theirs to know where they matter only.
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-C", "/", "HOME=/tmp", "engine"]
    assert "buildArch" in machine.run(*nobody, "recipe", "list").stdout
    done = machine.run(*nobody, "status", check=False)
    assert (done.returncode, CONFIG in done.stderr) == (3, True), done

    (upgrade,) = blocks("Upgrade, roll back")
    said = shell(upgrade)
    assert "takes tasks again" in said
    task = hub.make_task("toy", ["hello"])
    assert hub.wait_task(task)["state_name"] == "CLOSED"

    back, remove = blocks("Back to kojid, uninstall")
    shell(back)
    wait_for(lambda: machine.run("systemctl", "is-active", "kojid", check=False).stdout == "active\n", 20)
    shell(remove)
    for path in ("/etc/koji-adjutant", "/opt/koji-adjutant", "/home/koji-adjutant", "/var/tmp/koji-adjutant"):
        assert machine.run("test", "-e", path, check=False).returncode == 1, path
    assert machine.run("id", USER, check=False).returncode == 1
    left = machine.run("find", "/etc", "/usr/bin", "/var/tmp", "/run", "-name", "*adjutant*", check=False).stdout
    assert left == ""
