"""What killed processes left goes; what lives, was kept, or is another worker's stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner

from engine.adapters import leftover_services
from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.adapters.podman_service import answers
from engine.adapters.workspace import TaskDirectory, Workdir
from engine.cli.gc import gc
from engine.cli.local import worker_id
from engine.core.manager import ContainerTimeouts
from engine.core.spec import LABEL_ROLE, LABEL_TASK_ID, LABEL_WORKER_ID, AnchorSpec, ContainerHandle, ContainerSpec
from engine.gc import Collected, collect
from tests.podmanhost import podman

pytestmark = pytest.mark.podman


class Place:
    """One worker's things on this host."""

    def __init__(self, folder: Path, image: str, worker: str) -> None:
        self.image, self.worker = image, worker
        self.workdir = Workdir(str(folder / worker))
        self.manager = PodmanManager(
            PodmanConfig(worker_id=worker, secrets={"s": str(folder / "s")}, timeouts=ContainerTimeouts(stop_grace=0))
        )
        (folder / "s").write_text("x")
        self.made: list[str] = []

    def labels(self, task: int, role: str = "step") -> dict[str, str]:
        return {LABEL_WORKER_ID: self.worker, LABEL_TASK_ID: str(task), LABEL_ROLE: role}

    def container(self, task: int, name: str = "1-x", *, run: bool = False) -> str:
        spec = ContainerSpec(
            name=f"adjutant-{self.worker}-{task}-{name}",
            image=self.image,
            argv=("sleep", "300"),
            network_disabled=True,
            labels=self.labels(task),
            stop_timeout=0,
        )
        handle = self.manager.create(spec)
        if run:
            self.manager.start(handle)
        self.made.append(spec.name)
        return spec.name

    def anchor(self, task: int) -> str:
        name = f"adjutant-{self.worker}-{task}-root"
        self.manager.create_anchor(AnchorSpec(name=name, image=self.image, labels=self.labels(task, "anchor")))
        self.made.append(name)
        return name

    def secret(self, task: int) -> str:
        name = f"adjutant-{self.worker}-{task}-s"
        from engine.core.spec import SecretMount

        spec = ContainerSpec(
            name="x", image="x", argv=("x",), labels=self.labels(task),
            secrets=(SecretMount(name=name, target="/run/secrets/s"),),
        )  # fmt: skip
        self.manager.secrets._make(spec.secrets[0], spec)
        return name

    def names(self) -> set[str]:
        return {info.name for info in self.manager.containers({LABEL_WORKER_ID: self.worker})}

    def collect(self, **more: float | bool) -> Collected:
        return collect(self.manager, worker_id=self.worker, workdir=self.workdir.path, **more)  # type: ignore[arg-type]

    def close(self) -> None:
        for name in self.names():
            self.manager.remove(ContainerHandle(id=name, name=name))
        for secret in self.manager.secrets.stored(self.worker):
            self.manager.secrets.remove(secret.name)
        self.manager.close()


@pytest.fixture
def place(tmp_path: Path, tiny_image: str) -> Iterator[Place]:
    made = Place(tmp_path, tiny_image, f"gc-{os.getpid()}")
    yield made
    made.close()


def abandoned(place: Place, task: int) -> Path:
    """A workspace as a killed process leaves it."""
    directory = place.workdir.claim(task)
    directory.prepare(["in", "logs", "result"])
    directory.write("result/file", [b"x"])
    directory.close()
    return Path(directory.path)


def live(place: Place, task: int) -> TaskDirectory:
    return place.workdir.claim(task)


def test_leftovers_go_and_what_lives_stays(place: Place, tmp_path: Path) -> None:
    other = Place(tmp_path, place.image, f"{place.worker}-1")  # a name that begins like ours
    held = live(place, 3)
    try:
        kept = place.workdir.claim(4)
        kept.keep("build")
        folder = abandoned(place, 2)
        dead = {place.container(2, run=True), place.anchor(2), place.container(99), place.container(98, run=True)}
        alive = {place.container(3, run=True), place.anchor(3), place.anchor(4)}
        foreign = {other.container(2), other.anchor(99)}
        secrets = {place.secret(2), place.secret(97)}
        other.secret(2)
        mine = place.secret(3)

        said = place.collect(dry_run=True)
        assert place.names() == dead | alive
        assert set(said.secrets) >= {place.secret(97)}

        done = place.collect()
        assert done.failed == ()
        assert done.workspaces == (str(folder),)
        assert place.names() == alive
        assert set(done.secrets) == secrets
        assert [secret.name for secret in place.manager.secrets.stored(place.worker)] == [mine]
        assert not folder.exists()
        assert Path(held.path).exists()
        assert Path(kept.path).exists()
        assert other.names() == foreign
        assert len(other.manager.secrets.stored(other.worker)) == 1
        again = place.collect()
        assert attrs.asdict(again) | {"services": ()} == attrs.asdict(Collected())

        assert place.collect(kept_seconds=0).workspaces == (kept.path,)
        assert place.names() == alive - {f"adjutant-{place.worker}-4-root"}
    finally:
        held.remove()
        other.close()


def test_one_that_cannot_be_removed_does_not_keep_the_others(place: Place, tmp_path: Path) -> None:
    name = place.container(7)
    folder = abandoned(place, 5)
    blocked = folder / "result" / "held"
    blocked.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(blocked)], check=True)
    try:
        done = place.collect()
        assert len(done.failed) == 1
        assert str(folder) in done.failed[0]
        assert done.containers == (name,)
    finally:
        subprocess.run(["umount", str(blocked)], check=True)
    assert place.collect().workspaces == (str(folder),)


def test_checks_that_run_now_are_left_alone(place: Place) -> None:
    def check(pid: int) -> str:
        spec = ContainerSpec(
            name=f"adjutant-{place.worker}-doctor-limits-{pid}", image=place.image, argv=("true",),
            labels={LABEL_WORKER_ID: place.worker, LABEL_ROLE: "doctor"},
        )  # fmt: skip
        place.manager.create(spec)
        return spec.name

    child = subprocess.Popen(["true"])
    child.wait()
    mine, dead = check(os.getpid()), check(child.pid)
    assert place.collect().containers == (dead,)
    assert place.names() == {mine}


KILLED = """
import sys
from functools import partial
from engine.cli import cli
cli.main(sys.argv[1:], standalone_mode=False)
"""


def test_a_run_that_was_killed(tmp_path: Path, tiny_image: str) -> None:
    """kill -9 in the middle of a step: nothing is left after gc."""
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "napping.toml").write_text(
        'recipe = 1\nmethod = "napping"\n[[container.mounts]]\nsource = "{{ workspace.host }}/result"\n'
        'target = "/out"\nmode = "rw"\n[buildroot]\ntracked = false\n[[steps]]\nname = "nap"\nroot = "buildroot"\n'
        'network = "none"\nargv = ["sh", "-c", "touch /out/started; sleep 300"]\n'
    )
    work = tmp_path / "work"
    words = ["run", "napping", "--recipes", str(recipes), "--workdir", str(work), "--image", tiny_image]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, *words, "--results", str(tmp_path / "out")], start_new_session=True
    )
    try:
        end = time.monotonic() + 90
        while not list(work.glob("*/result/started")):
            assert child.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        child.kill()
        child.wait()
    worker = worker_id(str(work))
    names = podman("ps", "--all", "--format", "{{.Names}}", "--filter", f"label={LABEL_WORKER_ID}={worker}").split()
    assert len(names) == 2
    done = CliRunner().invoke(gc, ["--local", "--workdir", str(work), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert len(said["workspaces"]) == 1
    assert said["failed"] == []
    assert podman("ps", "--all", "--quiet", "--filter", f"label={LABEL_WORKER_ID}={worker}") == ""
    assert list(work.glob("[0-9]*")) == []


def test_services_of_dead_owners(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    folders = {}
    for name, owner in (("dead", str(gone.pid)), ("living", str(os.getpid())), ("young", None)):
        folder = Path(tempfile.mkdtemp(prefix=leftover_services.PREFIX, dir=tmp_path))
        if owner:
            (folder / leftover_services.OWNER).write_text(owner)
        folders[name] = folder
    log = Path(tempfile.mkdtemp(prefix=leftover_services.LOG_PREFIX, dir=tmp_path))
    service = subprocess.Popen(
        ["podman", "system", "service", "--time=60", f"unix://{folders['dead']}/podman.sock"],
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 30
        while not answers(folders["dead"] / "podman.sock"):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert leftover_services.remove_stale_services(str(tmp_path)) == [str(folders["dead"])]
        assert service.wait(20) is not None
    finally:
        service.kill()
        service.wait()
    os.utime(log, (0, 0))
    os.utime(folders["young"], (0, 0))
    removed = leftover_services.remove_stale_services(str(tmp_path))
    assert removed == sorted([str(folders["young"])]) + [str(log)]
    assert folders["living"].exists()
    shutil.rmtree(folders["living"])


def test_a_directory_that_its_owner_removed_meanwhile_is_no_leftover(tmp_path: Path) -> None:
    """Listed, and gone by the time it is looked at: other workers of this user come and go at any moment."""
    assert leftover_services._alive(tmp_path / f"{leftover_services.PREFIX}gone")
