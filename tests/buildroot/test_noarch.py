"""The tool that hashes noarch packages: the library's hash, of regular files only, and words for what is no package.

In builds it runs in the task image (tests/worker/test_builds.py); here by this host's Python, which has rpm as well.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.buildroot.state import State
from engine.buildroot.tools import install_tools
from tests.rpmdiff import PYTHON, koji_hash, need_rpm_module
from tools import standin

pytestmark = pytest.mark.usefixtures("rpm_module")


@pytest.fixture(scope="module")
def rpm_module() -> None:
    need_rpm_module()


def hashed(tmp_path: Path, results: Path) -> subprocess.CompletedProcess[str]:
    tools = install_tools(State(tmp_path / "state"))
    command = [PYTHON, "-B", tools / "noarch.py", "17", results, tmp_path / "out.json"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_of_real_packages(tmp_path: Path) -> None:
    try:
        packages = sorted(standin.world_repo().rglob("*.noarch.rpm"))[:12]
    except standin.NotSetUp as reason:
        pytest.skip(str(reason))
    results = tmp_path / "result"
    results.mkdir()
    for package in packages:
        shutil.copy(package, results)
    (results / "other.x86_64.rpm").write_text("not looked at")
    (results / "link.noarch.rpm").symlink_to(packages[0])
    os.mkfifo(results / "pipe.noarch.rpm")
    done = hashed(tmp_path, results)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    said = json.loads((tmp_path / "out.json").read_text())
    assert said == {"17": {package.name: koji_hash(package) for package in packages}}
    assert len(set(said["17"].values())) == len(packages) > 5


def test_of_what_is_no_package(tmp_path: Path) -> None:
    results = tmp_path / "result"
    results.mkdir()
    (results / "x-1-1.noarch.rpm").write_text("a stranger wrote this")
    done = hashed(tmp_path, results)
    assert done.returncode == 1
    assert done.stderr.startswith("cannot compare by x-1-1.noarch.rpm: ")
    assert not (tmp_path / "out.json").exists()
