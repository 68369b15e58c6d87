"""Answers to a recipe's probes: what the host's file system says before anything is rendered."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from engine.core.facts import ProbeAnswer


def answer(path: str | None) -> ProbeAnswer:
    """Does `path` exist, and how large is it: bytes of a file, entries of a directory.

    Links are followed: a Koji repo reaches its packages through one. What cannot be looked at does not exist
    for the task either. None, a path that has no value, does not exist.
    """
    if not path:
        return ProbeAnswer()
    try:
        info = os.stat(path)
        size = len(os.listdir(path)) if stat.S_ISDIR(info.st_mode) else info.st_size
    except (OSError, ValueError):
        return ProbeAnswer()
    return ProbeAnswer(exists=True, size=size)


def answers(asked: Mapping[str, str | None]) -> dict[str, ProbeAnswer]:
    """The answer for each probe by name."""
    return {name: answer(path) for name, path in asked.items()}
