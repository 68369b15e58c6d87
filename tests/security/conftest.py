"""Fixtures: real podman, and a plain user's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.podmanhost import manager, podman_host, task_image, tiny_image
from tests.rootless.cage import Cage, NoCage
from tests.rootless.conftest import made_person
from tests.security.ground import Plain

__all__ = ["manager", "podman_host", "task_image", "tiny_image"]

NET = 6000
"""Processes of the plain user at most, by her own limit: far above what the cases allow, far below the host's."""
CAGE = 768 * 1024**2
"""Bytes of memory of all her processes: what holds a memory bomb where no cgroup of her own does."""


@pytest.fixture(scope="session")
def plain(tiny_image: str, task_image: str) -> Iterator[Plain]:
    """A plain user with both images, and a process of hers that runs scripts."""
    with made_person(tiny_image, "h") as person:
        person.copy_image(task_image)
        try:
            cage = Cage(f"adjutant-test-{os.getpid()}", CAGE)
        except NoCage as reason:
            pytest.skip(f"a memory bomb of a plain user would take this host's memory: {reason}")
        made = Plain(person, cage, NET)
        try:
            yield made
        finally:
            try:
                made.close()
            finally:
                for pid in person.processes():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)
                cage.close()
