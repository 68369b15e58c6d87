"""Fixtures: unprivileged users with images in their own storage; each made once, for the task image is big."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.podmanhost import podman_host, task_image, tiny_image
from tests.rootless.person import Person

__all__ = ["podman_host", "task_image", "tiny_image"]


@contextmanager
def made_person(image: str, kind: str) -> Iterator[Person]:
    # Not in pytest's own directory: each session of root closes that to others.
    folder = Path(tempfile.mkdtemp(prefix="adjutant-rootless-", dir="/var/tmp"))
    folder.chmod(0o755)
    made = None
    try:
        made = Person(folder, kind)
        made.copy_image(image)
        yield made
    finally:
        if made is not None:
            made.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def person(task_image: str) -> Iterator[Person]:
    with made_person(task_image, "t") as made:
        yield made


@pytest.fixture(scope="session")
def plain(tiny_image: str) -> Iterator[Person]:
    """A user with the tiny image."""
    with made_person(tiny_image, "w") as made:
        yield made
