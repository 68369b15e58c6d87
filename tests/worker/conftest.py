"""Fixtures: a hub, an image of this session's own, and workers on them.

The hub is the stand-in. With `--hub-config FILE` it is that live hub (livehub.py) for the tests marked `any_hub`; the
others look into the stand-in or fill it, and are skipped with what they do.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hub import HubStandIn, Settings
from tests.podmanhost import import_tiny, podman, podman_host
from tests.worker.livehub import AnyHub, LiveHub
from tests.worker.workshop import TOY, WorkerProcess

__all__ = ["AnyHub", "podman_host"]

StartWorker = Callable[..., WorkerProcess]
LIVE_NAMES = {*dir(LiveHub), "admin", "builder", "channel", "topdir", "topurl"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Every test on a hub is one of `-m hub`, so that those skipped on a live one are seen."""
    if "hub" in getattr(item, "fixturenames", ()):
        item.add_marker("hub")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skipped before anything is made for it."""
    live = item.config.getoption("--hub-config") and "hub" in getattr(item, "fixturenames", ())
    if live and item.get_closest_marker("any_hub") is None:
        pytest.skip(f"only on the stand-in: {_needs(item)}")


def _needs(item: pytest.Item) -> str:
    """What of the stand-in a test uses that a live hub has not."""
    fixture = item._fixtureinfo.name2fixturedefs["hub"][-1].func  # type: ignore[attr-defined]
    if fixture.__module__ != __name__:
        return "it sets up a hub of its own"
    function: Callable[..., None] = item.function  # type: ignore[attr-defined]
    if "hub" not in inspect.signature(function).parameters:
        return "it asks nothing of the hub"
    said = set(re.findall(r"\bhub\.(\w+)", inspect.getsource(function)))
    used = sorted(said & set(dir(HubStandIn)) - LIVE_NAMES)
    return f"it uses {', '.join(f'hub.{name}' for name in used)}" if used else "its helpers fill the hub"


@pytest.fixture(scope="session")
def toy_image(podman_host: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny image with a name no other session has."""
    name = f"localhost/adjutant-test-worker:{os.getpid()}"
    yield import_tiny(name, tmp_path_factory.mktemp("image"))
    podman("rmi", name, check=False)


@pytest.fixture
def hub(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[AnyHub]:
    """A hub with one builder of capacity 4; or the live one."""
    config = request.config.getoption("--hub-config")
    if config and request.node.get_closest_marker("any_hub"):
        with LiveHub(Path(config)) as live:
            yield live
        return
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
def make_worker(hub: AnyHub, toy_image: str, toy_recipes: Path, tmp_path: Path) -> Iterator[StartWorker]:
    """Makes workers (not started): make_worker(user=hub.builder, **options of [hub])."""
    made: list[WorkerProcess] = []

    def make(
        user: str = hub.builder, image: str = toy_image, recipes: Path = toy_recipes, **options: Any
    ) -> WorkerProcess:
        options = {"password": hub.password(user), **options} if hub.live else options
        made.append(WorkerProcess(hub, tmp_path / user, image, user=user, recipes=recipes, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.close()


@pytest.fixture
def worker(make_worker: StartWorker) -> WorkerProcess:
    """A worker that is ready."""
    return make_worker().start()
