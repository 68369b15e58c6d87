"""Fixtures: a hub stand-in, an image of this session's own, and workers on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import HubStandIn, Settings
from tests.podmanhost import import_tiny, podman, podman_host
from tests.worker.workshop import TOY, WorkerProcess

__all__ = ["podman_host"]

StartWorker = Callable[..., WorkerProcess]


@pytest.fixture(scope="session")
def toy_image(podman_host: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny image with a name no other session has."""
    name = f"localhost/adjutant-test-worker:{os.getpid()}"
    yield import_tiny(name, tmp_path_factory.mktemp("image"))
    podman("rmi", name, check=False)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandIn]:
    """A hub with one builder of capacity 4."""
    # Refused softly, a task comes back soon: other tests' images come and go, and podman 4.3 stumbles over that.
    settings = Settings(soft_refusal_timeout=3.0)
    with HubStandIn(tmp_path / "koji", settings=settings) as standin:
        standin.add_host("builder1", arches="x86_64", capacity=4)
        yield standin


@pytest.fixture
def toy_recipes(tmp_path: Path) -> Path:
    """A directory with the recipe `toy`."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "toy.toml").write_text(TOY)
    return folder


@pytest.fixture
def make_worker(hub: HubStandIn, toy_image: str, toy_recipes: Path, tmp_path: Path) -> Iterator[StartWorker]:
    """Makes workers (not started): make_worker(user="builder1", **options of [hub])."""
    made: list[WorkerProcess] = []

    def make(
        user: str = "builder1", image: str = toy_image, recipes: Path = toy_recipes, **options: Any
    ) -> WorkerProcess:
        made.append(WorkerProcess(hub, tmp_path / user, image, user=user, recipes=recipes, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def worker(make_worker: StartWorker) -> WorkerProcess:
    """A worker that is ready."""
    return make_worker().start()
