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


def test_a_name_that_the_terminal_cannot_show_ends_nothing(tmp_path: Path) -> None:
    """Bytes that are no text, and letters that the locale's encoding lacks."""
    cases = ((b"\xff.toml", "utf-8:strict", rb"\udcff.toml"), (b"\xc4\x81.toml", "latin-1:strict", rb"\u0101.toml"))
    for name, encoding, shown in cases:
        done = subprocess.run(
            [sys.executable.encode(), b"-m", b"engine.cli", b"check", os.fsencode(tmp_path) + b"/" + name],
            env={**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (3, b"1 recipe: 1 error, 0 warnings\n")
        assert shown + b": cannot be read: No such file or directory" in done.stdout


@pytest.mark.parametrize("option", [b"--results", b"--workdir", b"--image", b"--repo", b"--param"])
def test_a_run_is_told_text(tmp_path: Path, option: bytes) -> None:
    done = subprocess.run(
        [
            sys.executable.encode(),
            b"-m",
            b"engine.cli",
            b"run",
            b"createrepo",
            os.fsencode(tmp_path),
            option,
            b"a=\xff",
        ],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3
    assert b"is not UTF-8" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("words", "shown"), [("engine ren", b"plain,render"), ("engine no-such x", b"")])
def test_completion_says_nothing_but_what_could_follow(words: str, shown: bytes) -> None:
    asked = {"_ENGINE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    engine = Path(sys.executable).with_name("engine")
    done = subprocess.run([engine], env={**os.environ, **asked}, capture_output=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (shown, b"")
