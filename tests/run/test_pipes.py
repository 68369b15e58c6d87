"""Commands whose output nobody reads to the end: what was begun is finished, and the exit code is the task's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def unread(command: list[str], stream: str) -> int:
    """The exit code of `command` whose `stream` is a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as pipe:
        out, err = (pipe, subprocess.DEVNULL) if stream == "stdout" else (subprocess.DEVNULL, pipe)
        return subprocess.run(command, stdout=out, stderr=err, check=False, timeout=60).returncode


@pytest.mark.parametrize(
    ("words", "stream", "code"),
    [
        (["recipe", "list"], "stdout", 0),
        (["recipe", "show", "createrepo"], "stdout", 0),
        (["recipe", "show", "no-such"], "stderr", 3),
        (["no-such"], "stderr", 2),
        (["--help"], "stdout", 0),
    ],
)
def test_a_reader_that_went_away_changes_no_exit_code(words: list[str], stream: str, code: int) -> None:
    recipes = Path(__file__).parents[2] / "recipes"
    option = ["--recipes", str(recipes)] if words[0] == "recipe" else []
    assert unread([sys.executable, "-m", "engine.cli", *words, *option], stream) == code
