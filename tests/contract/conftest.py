"""Fixtures: both container managers behind one name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from engine.core.manager import ContainerManager, ContainerTimeouts
from engine.core.spec import ContainerSpec, ResourceLimits
from tests.contract.commands import COMMANDS
from tests.fakes import MemoryManager
from tests.podman_fixtures import LABELS, WORKER, manager, podman_service, tiny_image

__all__ = ["manager", "podman_service", "tiny_image"]


@attrs.frozen
class Engine:
    """A manager with an image it has; `spec(*argv, **fields)` makes a spec with a name of its own."""

    manager: ContainerManager
    image: str
    folder: Path
    numbers: Iterator[int] = attrs.field(factory=lambda: iter(range(10_000)))

    def spec(self, *argv: str, **fields: Any) -> ContainerSpec:
        fields.setdefault("name", f"{WORKER}-{next(self.numbers)}")
        # An explicit nofile: the host's default may be more than a test machine allows.
        fields.setdefault("limits", ResourceLimits(pids=100, nofile=1024))
        return ContainerSpec(image=self.image, argv=argv, labels=LABELS, network_disabled=True, **fields)


@pytest.fixture(params=["memory", pytest.param("podman", marks=pytest.mark.podman)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    if request.param == "podman":
        return Engine(request.getfixturevalue("manager"), request.getfixturevalue("tiny_image"), tmp_path)
    fake = MemoryManager(
        COMMANDS, images={"localhost/tiny:1"}, worker_id=WORKER, timeouts=ContainerTimeouts(stop_grace=1)
    )
    return Engine(fake, "localhost/tiny:1", tmp_path)
