"""Equal to mock: the documented script, where mock is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools import standin

ROOT = Path(__file__).parents[2]


@pytest.mark.podman
def test_packages_and_root_are_those_of_mock(tmp_path: Path, packages: Path, task_image: str) -> None:
    if shutil.which("mock") is None:
        pytest.skip("mock is not installed (Fedora, EPEL: package mock)")
    done = subprocess.run(
        [ROOT / "tools" / "compare_mock.sh", standin.srpm("hz"), packages, tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
