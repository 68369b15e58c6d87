"""Images at start: those of the operator's rules are asked of the registry before the worker reports ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.podmanhost import import_tiny, podman
from tests.registry.server import Registry, registries_conf
from tests.worker.conftest import StartWorker
from tests.worker.workshop import WorkerProcess

pytestmark = pytest.mark.podman
NAME = "builders/ruled"


@pytest.fixture
def registry(podman_host: None, tmp_path: Path) -> Iterator[Registry]:
    """A registry with the image NAME:1, which is not in podman's storage."""
    made = Registry(tmp_path / "registry")
    made.start()
    image = import_tiny(f"{made.address}/{NAME}:1", tmp_path)
    podman("push", "--quiet", "--tls-verify=false", image)
    podman("rmi", "--force", image)
    yield made
    made.stop()
    podman("rmi", "--force", image, check=False)


def ruled(make_worker: StartWorker, registry: Registry, folder: Path, tag: str) -> tuple[WorkerProcess, str]:
    """A worker whose settings name, for a method that it has no recipe for, an image of the registry."""
    worker, image = make_worker(), f"{registry.address}/{NAME}:{tag}"
    worker.settings["adjutant_images"] = [{"method": "buildArch", "tag": "f45-*", "image": image}]
    worker.settings["adjutant_image_pull_policy"] = "if-not-present"
    worker.environment["CONTAINERS_REGISTRIES_CONF"] = str(registries_conf(folder, registry.address))
    return worker, image


def stored(image: str) -> bool:
    return bool(podman("images", "--quiet", "--filter", f"reference={image}").strip())


def test_an_image_of_a_rule_is_pulled_before_ready(
    make_worker: StartWorker, registry: Registry, tmp_path: Path
) -> None:
    worker, image = ruled(make_worker, registry, tmp_path, "1")
    assert not stored(image)
    worker.start()
    assert stored(image)
    assert worker.terminate() == 0


def test_without_an_image_of_a_rule_it_is_not_ready_and_names_it(
    make_worker: StartWorker, registry: Registry, tmp_path: Path
) -> None:
    worker, image = ruled(make_worker, registry, tmp_path, "none")
    worker.start(ready=False)
    assert worker.wait() == 4
    assert not any("READY=1" in text for text in worker.listen())
    assert image in worker.log.read_text()
