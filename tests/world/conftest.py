"""Running programs in the task image, with the world's repository at hand."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.podmanhost import podman_host
from tools import standin

__all__ = ["podman_host"]

REPO_FILE = "[world]\nname=world\nbaseurl=file:///world\ngpgcheck=0\n"
Shell = Callable[..., str]


@pytest.fixture(scope="session")
def repo() -> Path:
    return standin.world_repo()


@pytest.fixture(scope="session")
def shell(podman_host: None, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Run a script in the task image without network: the world at /world, its only repository file in /repos."""
    repos = tmp_path_factory.mktemp("repos")
    (repos / "world.repo").write_text(REPO_FILE)

    def run(script: str, *options: str) -> str:
        done = subprocess.run(
            [
                "podman", "run", "--rm", "--network=none", "--label=io.koji.adjutant.test=world",
                f"--volume={standin.world_repo()}:/world:ro", f"--volume={repos}:/repos:ro", *options,
                standin.task_image(), "/bin/bash", "-euo", "pipefail", "-c", script,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    return run
