"""After a reboot: podman's storage remembers containers whose processes, mounts and run-time files are gone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine.gc
from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.adapters.workspace import Workdir
from engine.core.manager import ContainerTimeouts
from engine.core.spec import LABEL_ROLE, LABEL_TASK_ID, LABEL_WORKER_ID, AnchorSpec, ContainerSpec
from engine.gc import collect
from tests.podmanhost import podman

pytestmark = [
    pytest.mark.podman,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can take mounts away as a reboot does"),
]
WORKER = f"reboot-{os.getpid()}"


class Host:
    """A podman storage of its own below `folder`, which can lose its power."""

    def __init__(self, folder: Path, image: str) -> None:
        self.folder, self.image = folder, image
        conf = Path(os.environ["CONTAINERS_CONF"]).read_text() if "CONTAINERS_CONF" in os.environ else "[engine]\n"
        assert "[engine]" in conf
        # The locks in shared memory are those of every podman of root, and a power cut takes locks, too.
        own = f'[engine]\ntmp_dir = "{folder}/tmp"\nlock_type = "file"'
        (folder / "containers.conf").write_text(conf.replace("[engine]", own, 1))
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
        )
        self.env = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        archive = folder / "image.tar"
        podman("save", "--quiet", "--output", archive, image)
        podman("load", "--quiet", "--input", archive, env=self.env)
        self.workdir = Workdir(str(folder / "work"))
        self.manager = self.boot()

    def boot(self) -> PodmanManager:
        config = PodmanConfig(worker_id=WORKER, timeouts=ContainerTimeouts(stop_grace=0))
        self.manager = PodmanManager(config, environ=self.env)
        return self.manager

    def labels(self, task: int, role: str) -> dict[str, str]:
        return {LABEL_WORKER_ID: WORKER, LABEL_TASK_ID: str(task), LABEL_ROLE: role}

    def task(self, number: int) -> None:
        """A task in the middle of its work: workspace, mounted root, a running step."""
        directory = self.workdir.claim(number)
        directory.prepare(["result"])
        root = f"adjutant-{WORKER}-{number}-root"
        self.manager.create_anchor(AnchorSpec(name=root, image=self.image, labels=self.labels(number, "anchor")))
        step = ContainerSpec(
            name=f"adjutant-{WORKER}-{number}-1-x",
            image=self.image,
            argv=("sleep", "300"),
            network_disabled=True,
            labels=self.labels(number, "step"),
            stop_timeout=0,
        )
        self.manager.start(self.manager.create(step))
        directory.close()

    def lose_power(self, *, database: bool = True) -> None:
        """All processes, mounts and files of /run go; with `database` False podman's database is broken, too."""
        running = podman("ps", "--quiet", env=self.env).split()
        for state in (json.loads(podman("inspect", one, env=self.env))[0]["State"] for one in running):
            for pid in (state["ConmonPid"], state["Pid"]):
                os.kill(pid, signal.SIGKILL)
        self.manager.close()
        self.unmount()
        for name in ("run", "tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if not database:
            for path in [*self.folder.glob("graph/libpod/bolt_state.db"), *self.folder.glob("graph/db.sql*")]:
                path.unlink()

    def unmount(self) -> None:
        end = time.monotonic() + 20
        while mounted := [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()
                          if line.split()[1].startswith(f"{self.folder}/")]:  # fmt: skip
            assert time.monotonic() < end, mounted
            for path in sorted(mounted, reverse=True):
                subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)

    def left(self) -> str:
        return podman("ps", "--all", "--external", "--format", "{{.Names}}", env=self.env)


@pytest.fixture
def host(tmp_path: Path, tiny_image: str) -> Iterator[Host]:
    made = Host(tmp_path, tiny_image)
    yield made
    made.manager.close()
    made.unmount()


def test_what_was_running_is_removed(host: Host) -> None:
    host.task(5)
    host.lose_power()
    done = collect(host.boot(), worker_id=WORKER, workdir=host.workdir.path)
    assert done.failed == ()
    assert len(done.workspaces) == 1
    assert host.left() == ""
    host.task(5)  # the names are free again


def test_what_only_the_storage_knows_is_removed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.task(5)
    host.task(6)
    host.lose_power(database=False)
    manager = host.boot()
    names = sorted(f"adjutant-{WORKER}-{number}-{part}" for number in (5, 6) for part in ("1-x", "root"))
    assert sorted(host.left().split()) == names
    young = collect(manager, worker_id=WORKER, workdir=host.workdir.path)  # may be somebody's who is making them
    assert young.containers == ()
    monkeypatch.setattr(engine.gc, "CHECK_AGE", 0.0)
    done = collect(manager, worker_id=WORKER, workdir=host.workdir.path)
    assert (sorted(done.containers), done.failed) == (names, ())
    assert host.left() == ""
