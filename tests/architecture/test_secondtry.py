"""The second try of a test, as CI allows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.secondtry import MOST

SUITE = """
import pathlib, pytest

@pytest.mark.parametrize("number", range({count}))
def test_first_time_unlucky(number):
    mark = pathlib.Path(__file__).with_name(f"tried-{{number}}")
    if not mark.exists():
        mark.touch()
        pytest.fail(f"no luck with {{number}}")

def test_never_lucky():
    assert {sound}
"""


def run(folder: Path, count: int, *, sound: bool = True) -> subprocess.CompletedProcess[str]:
    (folder / "test_luck.py").write_text(SUITE.format(count=count, sound=sound))
    command = [sys.executable, "-m", "pytest", "-p", "tests.secondtry", "--reruns", "1", "-n", "2", "-c", os.devnull]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*command, "--rootdir", folder, folder], env=environ, cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("count", "code"), [(0, 0), (MOST, 0), (MOST + 1, 1)])
def test_few_may_need_a_second_try_and_each_is_told(tmp_path: Path, count: int, code: int) -> None:
    ran = run(tmp_path, count)
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ran.stdout.count("RERUN ") == count
    assert all(f"no luck with {number}" in ran.stdout for number in range(count))


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    ran = run(tmp_path, 0, sound=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
