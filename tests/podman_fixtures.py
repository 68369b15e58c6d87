"""Fixtures for tests with real podman: one private service per session, a manager on it, a tiny image."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.adapters.podman_service import PodmanService
from engine.core.manager import ContainerTimeouts
from engine.core.spec import LABEL_WORKER_ID
from tests.podmanhost import import_tiny, podman
from tools import standin

WORKER = f"test-{os.getpid()}"
LABELS = {LABEL_WORKER_ID: WORKER}


def podman_environ() -> dict[str, str]:
    """This process's environment with the containers.conf that podman needs on this host."""
    conf = standin.containers_conf()
    return {**os.environ, **({"CONTAINERS_CONF": str(conf)} if conf else {})}


@functools.cache
def podman_skip_reason() -> str | None:
    """Why tests with podman cannot run here; None when they can."""
    if shutil.which("podman") is None:
        return "podman is not installed"
    command = ["podman", "info", "--format", "{{.Version.Version}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=podman_environ())
    if done.returncode:
        return f"podman does not work here: {done.stderr.strip()[-200:]}"
    return None


@pytest.fixture(scope="session")
def podman_service() -> Iterator[PodmanService]:
    """A private service. CONTAINERS_CONF is also set for the tests' own podman commands."""
    reason = podman_skip_reason()
    if reason is not None:
        pytest.skip(reason)
    patch = pytest.MonkeyPatch()
    environ = podman_environ()
    if "CONTAINERS_CONF" in environ:
        patch.setenv("CONTAINERS_CONF", environ["CONTAINERS_CONF"])
    environ.pop("CONTAINER_HOST", None)
    service = PodmanService(environ=environ)
    service.ensure()
    yield service
    service.close()
    patch.undo()


@pytest.fixture(scope="session")
def tiny_image(podman_service: PodmanService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of some 2 MB with busybox and the user koji, its name this session's own."""
    name = f"localhost/adjutant-tiny:{os.getpid()}"
    yield import_tiny(name, tmp_path_factory.mktemp("tiny"))
    podman("rmi", "--force", name, check=False)


@pytest.fixture(scope="session")
def manager(podman_service: PodmanService) -> Iterator[PodmanManager]:
    """A manager with a grace of one second; at the end no container of it may be left."""
    config = PodmanConfig(
        worker_id=WORKER, socket=podman_service.url, timeouts=ContainerTimeouts(pull=20, start=60, stop_grace=1)
    )
    with PodmanManager(config) as made:
        yield made
        left = [info.name for info in made.containers(LABELS)]
        for name in left:
            podman("rm", "--force", "--time", "0", name, check=False)
        assert not left, f"containers were left: {left}"


def private_manager() -> PodmanManager:
    """A manager with a service of its own, for tests that kill it."""
    environ = {key: value for key, value in podman_environ().items() if key != "CONTAINER_HOST"}
    config = PodmanConfig(worker_id=WORKER, timeouts=ContainerTimeouts(pull=20, start=60, stop_grace=1))
    return PodmanManager(config, environ=environ)
