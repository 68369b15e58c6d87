"""`engine worker` as an unprivileged user, on a hub stand-in that runs in the test."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import tomli_w

from tests.hub import HubStandIn
from tests.rootless.person import Person
from tests.worker.workshop import WorkerProcess, wait_for

RECIPE = '''
recipe = 1
method = "hut"
params = [ { name = "script", type = "str" } ]
weight = 0.5
[result]
files = "{{ artifacts.out.paths }}"
[buildroot]
tracked = false
[container]
network = "none"
env = { HOME = "/tmp" }
[[container.mounts]]
source = "{{ workspace.host }}/in"
target = "{{ workspace.path }}/in"
[[container.mounts]]
source = "{{ workspace.host }}/result"
target = "{{ workspace.path }}/result"
mode = "rw"
[[files]]
path = "install.sh"
literal = true
content = """
id -u
exec 2>&1
cd "$1"
echo by root > root.txt
mkdir closed
echo x > closed/file
chown -R 42:65534 closed
chmod 700 closed
touch /target/installed
"""
[[files]]
path = "build.sh"
literal = true
content = """
id -u
cd "$1"
mkdir -p tree/deep
echo x > tree/deep/file
chmod 500 tree/deep
chmod 700 tree
eval "$2"
"""
[[steps]]
name = "install"
user = "root"
caps = "install"
target = true
log = "root.log"
fails = "BuildrootError"
argv = ["/bin/sh", "-e", "{{ workspace.path }}/in/install.sh", "{{ workspace.path }}/result"]
[[steps]]
name = "build"
log = "build.log"
fails = "BuildError"
argv = ["/bin/sh", "{{ workspace.path }}/in/build.sh", "{{ workspace.path }}/result", "{{ params.script }}"]
[[artifacts]]
name = "out"
glob = ["result/*.txt"]
'''
"""A step as the container's root, one as uid 1000; both write what the worker's user may not remove."""


class PersonsWorker(WorkerProcess):
    """One `engine worker` of `person`."""

    def __init__(self, person: Person, hub: HubStandIn, folder: Path, image: str) -> None:
        recipes = folder / "recipes"
        recipes.mkdir(parents=True)
        (recipes / "hut.toml").write_text(RECIPE)
        super().__init__(hub, folder, image, user="builder1", recipes=recipes)
        self.person = person
        self.settings["adjutant_network_enabled"] = False
        os.chown(folder, person.uid, person.uid)

    def start(self, *options: str, ready: bool = True) -> PersonsWorker:
        self.config.write_text(tomli_w.dumps(self.settings))
        address = self.folder / "notify"
        address.unlink(missing_ok=True)
        if self._systemd is not None:
            self._systemd.close()
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(str(address))
        self._systemd.setblocking(False)
        os.chown(address, self.person.uid, self.person.uid)
        self.notified = []
        words = [self.person.python, "-m", "engine.cli", "worker", "--config", self.config, "-v", "--foreground"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.person.command(*words, *options),
                env={**self.person.environ, "NOTIFY_SOCKET": str(address)},
                cwd=self.person.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            wait_for(self.is_ready, 60, f"the worker did not become ready:\n{self.log.read_text()}")
        return self

    def containers(self) -> list[str]:
        return self.person.run("podman", "ps", "--all", "--format", "{{.Names}}").stdout.split()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for name in self.containers():
            self.person.run("podman", "rm", "--force", "--time", "0", name, check=False)
        if self._systemd is not None:
            self._systemd.close()

    def foreign_owners(self, task: int) -> set[int]:
        """Ids of the files in the task's directory that are not the worker's user's."""
        found = {path.lstat().st_uid for path in (self.workdir / str(task)).rglob("*")}
        return found - {self.person.uid}
