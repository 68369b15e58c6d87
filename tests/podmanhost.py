"""What tests with real podman share: its configuration, a manager, a tiny image, and proof that nothing is left."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.buildroot.images import LABEL_KEY, LABEL_OWNER
from engine.core.manager import ContainerTimeouts
from engine.core.registry import lost_race
from tools import standin

TINY = f"localhost/adjutant-test-tiny:{os.getpid()}"  # two sessions at once shall not remove each other's
TEST_LABEL = "io.koji.adjutant.test=host"

_APPLETS = ("sh", "cat", "ls", "id", "sleep", "find", "rm", "test", "printf", "touch", "mkdir", "true", "false")
_BUSYBOX = ("/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static")


def podman(*words: str | Path, env: dict[str, str] | None = None, check: bool = True) -> str:
    """Standard output of a podman command; a list that failed as another session removed an image is asked again."""
    for _attempt in range(20):
        done = subprocess.run(
            ["podman", *map(str, words)], capture_output=True, text=True, check=False, env={**os.environ, **(env or {})}
        )
        if words[0] != "images" or not lost_race(done.stderr):
            break
        time.sleep(0.2)  # a chain of images goes one by one
    if check and done.returncode:
        raise AssertionError(f"podman {' '.join(map(str, words))}: {done.stderr}")
    return done.stdout


@pytest.fixture(scope="session")
def podman_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """podman with the configuration this host needs; skips where there is none. Roots that tests stored go after."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    conf = standin.containers_conf()
    patch = pytest.MonkeyPatch()
    if conf is not None:
        patch.setenv("CONTAINERS_CONF", str(conf))
    yield
    _forget_roots(tmp_path_factory.getbasetemp())
    patch.undo()


def _forget_roots(base: Path) -> None:
    """Remove stored roots of work directories below `base`; tests take up each other's, so not before the end."""
    listed = podman("images", "--all", "--format", "json", "--filter", f"label={LABEL_KEY}", check=False)
    owners = {image["Id"]: (image.get("Labels") or {}).get(LABEL_OWNER, "") for image in json.loads(listed or "[]")}
    for image, owner in owners.items():  # newest first, so a layer goes before what it lies upon
        if Path(owner).is_relative_to(base):
            podman("rmi", "--force", image, check=False)


def busybox() -> Path:
    """A statically linked busybox of this host, or skip."""
    for name in _BUSYBOX:
        path = Path(name)
        kind = subprocess.run(["file", "-L", name], capture_output=True, check=False)
        if path.exists() and b"statically" in kind.stdout:
            return path.resolve()
    pytest.skip("there is no static busybox (Debian: package busybox-static)")


def tiny_tar(extra: dict[str, str] | None = None) -> bytes:
    """A root file system of some 2 MB: busybox, passwd with koji 1000:1000, /builddir; and `extra` files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def directory(name: str, mode: int = 0o755, uid: int = 0) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, uid, uid
            tar.addfile(info)

        def file(name: str, data: bytes, mode: int = 0o644) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))

        for name in ("bin", "etc", "proc", "sys", "dev", "run", "var", "usr", "target", "work"):
            directory(name)
        directory("tmp", 0o1777)
        directory("root", 0o700)
        directory("builddir", 0o755, 1000)
        file("bin/busybox", busybox().read_bytes(), 0o755)
        for applet in _APPLETS:
            info = tarfile.TarInfo(f"bin/{applet}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nkoji:x:1000:1000::/builddir:/bin/sh\n")
        file("etc/group", b"root:x:0:\nkoji:x:1000:\n")
        for name, text in (extra or {}).items():
            file(name, text.encode())
    return buffer.getvalue()


def import_tiny(name: str, folder: Path, *changes: str, extra: dict[str, str] | None = None) -> str:
    """Make image `name` from `tiny_tar`; `changes` are Containerfile instructions."""
    archive = folder / "tiny.tar"
    archive.write_bytes(tiny_tar(extra))
    words = [word for change in (f"LABEL {TEST_LABEL}", *changes) for word in ("--change", change)]
    podman("import", "--quiet", *words, archive, name)
    archive.unlink()
    return name


@pytest.fixture(scope="session")
def tiny_image(podman_host: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tiny image, removed at the end."""
    yield import_tiny(TINY, tmp_path_factory.mktemp("tiny"))
    podman("rmi", "--force", TINY, check=False)


@pytest.fixture(scope="session")
def task_image(podman_host: None) -> str:
    """The task image, or skip with the reason."""
    try:
        return standin.task_image()
    except standin.NotSetUp as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def manager(podman_host: None) -> Iterator[PodmanManager]:
    """A manager with a service of its own."""
    config = PodmanConfig(
        worker_id=f"hosttest-{os.getpid()}", timeouts=ContainerTimeouts(pull=20, start=60, stop_grace=1)
    )
    with PodmanManager(config) as made:
        yield made
        left = [info.name for info in made.containers({"io.koji.adjutant.worker_id": config.worker_id})]
        for name in left:
            podman("rm", "--force", "--time", "0", name, check=False)
        assert not left, f"containers were left: {left}"
