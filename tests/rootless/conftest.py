"""Fixtures: an unprivileged user with the task image in her own storage; made once, for the image is big."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.podmanhost import podman_host, task_image
from tests.rootless.person import Person

__all__ = ["podman_host", "task_image"]


@pytest.fixture(scope="session")
def person(task_image: str) -> Iterator[Person]:
    # Not in pytest's own directory: each session of root closes that to others.
    folder = Path(tempfile.mkdtemp(prefix="adjutant-rootless-", dir="/var/tmp"))
    folder.chmod(0o755)
    made = None
    try:
        made = Person(folder)
        made.copy_image(task_image)
        yield made
    finally:
        if made is not None:
            made.close()
        shutil.rmtree(folder, ignore_errors=True)
