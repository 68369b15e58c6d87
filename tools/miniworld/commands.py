"""Running other programs: output captured, failure told with its last lines."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandError(RuntimeError):
    """A program ended with a status other than 0."""


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    cwd: Path | None = None,
) -> str:
    """Run `argv` and return its standard output. `env` is added to the environment, in locale C.UTF-8.

    Raises CommandError with the last 3000 characters of both streams.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            cwd=cwd,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{words[0]}: no such program (make setup installs it)") from error
    if done.returncode:
        tail = (done.stdout + done.stderr)[-3000:]
        raise CommandError(f"{' '.join(words)[:300]}: ended with status {done.returncode}\n{tail}")
    return done.stdout
