"""Commands whose output nobody reads to the end: what was begun is finished, and the exit code is the task's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def unread(command: list[str], stream: str, **more: object) -> int:
    """The exit code of `command` whose `stream` is a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    others = {name: subprocess.DEVNULL for name in ("stdout", "stderr") if name != stream}
    with open(writer, "wb") as pipe:
        return subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=60, **{**others, stream: pipe}).returncode  # type: ignore[call-overload,no-any-return]  # fmt: skip


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
