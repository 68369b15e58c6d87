"""A worker process on a hub stand-in, with real containers: what the tests of this folder start and hold."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

import tomli_w

from engine.adapters.worker_names import directory
from engine.worker.state import StateDirectory
from tests.podmanhost import podman
from tests.worker.livehub import AnyHub

TOY = '''
recipe = 1
method = "toy"
summary = "Say something, wait, write a file, end as told"
params = [
  { name = "text", type = "str" },
  { name = "seconds", type = "float", optional = true, default = 0 },
  { name = "code", type = "int", optional = true, default = 0 },
]
weight = 0.5

[result]
text  = "{{ params.text }}"
files = "{{ artifacts.files.paths }}"
logs  = "{{ logs.names }}"

[container]
network = "none"

[[container.mounts]]
source  = "{{ workspace.host }}/result"
target  = "{{ workspace.path }}/result"
mode    = "rw"
selinux = "Z"

[[steps]]
name    = "say"
log     = "say.log"
fails   = "BuildError"
exits   = { 75 = "infrastructure" }
message = "toy failed: {{ exit.text }}; see {{ log }} for more information"
argv    = ["/bin/sh", "{{ workspace.path }}/in/say.sh", "{{ params.text }}", "{{ params.seconds }}",
           "{{ params.code }}", "{{ workspace.path }}/result"]

[[container.mounts]]
source  = "{{ workspace.host }}/in"
target  = "{{ workspace.path }}/in"
selinux = "Z"

[[files]]
path    = "say.sh"
literal = true
content = """
trap 'echo asked to stop; exit 3' TERM
sleep "$2" &
trap "kill $!" USR1
echo "said $1"
wait $!
printf '%s' "$1" > "$4/said.txt"
exit "$3"
"""

[[artifacts]]
name = "files"
glob = ["result/*.txt"]
min  = 1
'''


def wait_for(what: Callable[[], Any], timeout: float = 60.0, words: str = "") -> Any:
    """The first true value of `what`; AssertionError with `words` after `timeout` seconds, meant for a busy host."""
    deadline = time.monotonic() + timeout
    while not (value := what()):
        assert time.monotonic() < deadline, words or f"not within {timeout} s"
        time.sleep(0.02)
    return value


def fault_of(hub: AnyHub, task: int) -> tuple[int, str]:
    """Code and text of the fault that a task failed with."""
    try:
        hub.result(task)
    except Fault as fault:
        return fault.faultCode, fault.faultString
    raise AssertionError(f"task {task} did not fail")


class WorkerProcess:
    """One `engine worker`, its files below `folder`, and the socket that plays systemd for it."""

    def __init__(self, hub: AnyHub, folder: Path, image: str, *, user: str, recipes: Path, **hub_options: Any) -> None:
        self.hub, self.folder, self.user = hub, folder, user
        folder.mkdir(parents=True, exist_ok=True)
        self.workdir = folder / "workdir"
        self.worker_id = f"test-{os.getpid()}-{user}"
        self.log = folder / "worker.log"
        self.config = folder / "worker.toml"
        self.settings: dict[str, Any] = {
            "adjutant_task_image_default": image,
            "adjutant_image_pull_policy": "never",
            "adjutant_container_mounts": [
                {"source": str(hub.topdir), "target": str(hub.topdir), "selinux_label": "none"}
            ],
            "adjutant_container_timeouts": {"stop_grace": 2},
            "hub": {
                "server": hub.url,
                "topurl": hub.topurl,
                "topdir": str(hub.topdir),
                "user": user,
                "password": user,
                "workdir": str(self.workdir),
                "sleeptime": 1,
                "minspace": 10,
                "max_retries": 100,
                "retry_interval": 1,
                "offline_retry_interval": 1,
                **hub_options,
            },
            "worker": {
                "id": self.worker_id,
                "recipes": [str(recipes)],
                "shutdown_timeout": 0,
                "max_load": 1000.0,
                "self_test": False,
            },
        }
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._systemd: socket.socket | None = None
        self.notified: list[str] = []

    def start(self, *options: str, ready: bool = True) -> WorkerProcess:
        """Start it and, with `ready`, wait for READY=1."""
        self.config.write_text(tomli_w.dumps(self.settings))
        address = self.folder / "notify"
        address.unlink(missing_ok=True)
        if self._systemd is not None:
            self._systemd.close()
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(str(address))
        self._systemd.setblocking(False)
        self.notified = []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "engine.cli", "worker", "--config", self.config, "-v", "--foreground", *options],
                env={**os.environ, "NOTIFY_SOCKET": str(address), "PYTHONPATH": os.getcwd(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if ready:
            wait_for(self.is_ready, 90, f"the worker did not become ready:\n{self.log.read_text()}")
        return self

    def is_ready(self) -> bool:
        ended = self.process is not None and self.process.poll() is not None
        ready = any("READY=1" in text for text in self.listen())
        assert ready or not ended, self.log.read_text()  # with --once it may have done its work already
        return ready

    def listen(self) -> list[str]:
        """What systemd was told so far."""
        with suppress(BlockingIOError):
            while self._systemd is not None:
                self.notified.append(self._systemd.recv(8192).decode())
        return self.notified

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float = 60.0) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    def terminate(self, timeout: float = 60.0) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """kill -9, as the kernel's out-of-memory killer would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def containers(self) -> list[str]:
        """Names of this worker's containers, running or not."""
        names = podman(
            "ps", "--all", "--filter", f"label=io.koji.adjutant.worker_id={self.worker_id}", "--format", "{{.Names}}"
        )
        return names.split()

    def end_waiting(self) -> None:
        """Let the toys that run go on to their end now, however many seconds they were to wait."""
        for name in self.containers():
            podman("kill", "--signal", "USR1", name)

    def task_process(self, task: int) -> int:
        """Pid of the task's process; upkeep beside the loop has the lock open, too."""
        return int(StateDirectory(str(self.workdir)).task(task)["pid"])

    def processes(self) -> list[int]:
        """Every process that has this worker's lock open: the daemon, and its forked children."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    links = {os.readlink(link) for link in (entry / "fd").iterdir()}
                    if str(self.workdir / "worker" / "lock") in links:
                        found.append(int(entry.name))
        return found

    def workspaces(self) -> list[str]:
        """Task directories left in the workdir."""
        return (
            [entry.name for entry in self.workdir.iterdir() if entry.name.isdecimal()] if self.workdir.exists() else []
        )

    def assert_nothing_left(self) -> None:
        """No container, no process, no file of a task."""
        assert self.containers() == []
        assert self.processes() == []
        assert self.workspaces() == []
        assert list((self.workdir / "worker" / "tasks").iterdir()) == []

    def close(self) -> None:
        """End it, whatever the test did; then nothing may be left unless the test failed before."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for name in self.containers():
            podman("rm", "--force", "--time", "0", name, check=False)
        (directory() / f"{self.worker_id}.worker").unlink(missing_ok=True)  # a killed one leaves its name
        if self._systemd is not None:
            self._systemd.close()
