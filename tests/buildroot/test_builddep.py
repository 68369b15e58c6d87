"""What the step that installs requirements, which is root, reads and writes where a package's own code was before.

In builds it runs in the task image (tests/worker/test_builds.py); here by this host's Python, which has rpm as well.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from engine.buildroot.state import State
from engine.buildroot.tools import install_tools
from tests.rpmdiff import PYTHON, need_rpm_module


@pytest.fixture(autouse=True)
def rpm_module() -> None:
    need_rpm_module()


def run(tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """`code` of the tool's own modules, ended after 20 s: what waits at a fifo waits for ever."""
    tools = install_tools(State(tmp_path / "state"))
    command = [PYTHON, "-B", "-c", code, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(tools)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=20)


@pytest.mark.parametrize("odd", ["fifo", "link", "dangling", "directory"])
def test_a_source_package_that_is_no_regular_file(tmp_path: Path, odd: str) -> None:
    place = tmp_path / "a\nb.src.rpm"
    match odd:
        case "fifo":
            os.mkfifo(place)
        case "link":
            place.symlink_to("/dev/zero")
        case "dangling":
            place.symlink_to("/nowhere")
        case _:
            place.mkdir()
    tools = install_tools(State(tmp_path / "state"))
    (tmp_path / "config.json").write_text("{}")
    command = [PYTHON, "-B", tools / "builddep.py", tmp_path / "config.json", tmp_path, tmp_path, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1, (done.stdout, done.stderr)  # 75 would be this host's fault, and the next host's
    assert done.stdout.startswith(f"Error: '{tmp_path}/a\\nb.src.rpm' is no source package: ")


@pytest.mark.parametrize("name", ["requires", "requires.arriving"])
def test_a_directory_where_a_list_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name / "full").mkdir(parents=True)
    code = """
import sys
from files import Obstructed, write_text
try:
    write_text(sys.argv[1] + "/requires", "")
except Obstructed as error:
    print(error)
"""
    done = run(tmp_path, code)
    assert done.stdout == f"'{tmp_path}/{name}' is a directory, made by the package's own code\n", done.stderr
