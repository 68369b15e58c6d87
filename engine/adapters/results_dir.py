"""A directory of results for a person: artifacts, logs, ``result.json`` and ``replay.sh``.

``result.json`` is written last, removed first, and names every file beside it: a directory that has one is
complete and may be replaced by the next run; anything else in it is somebody's own and stops us.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from engine.adapters import paths
from engine.adapters.collect import copy_out
from engine.core.errors import BadInput, InfrastructureError, Problem
from engine.core.outcome import TaskOutcome

RESULT, REPLAY = "result.json", "replay.sh"


class ResultsDirectory:
    """Implements `engine.runner.ports.Delivery`. `replay` gives the text of ``replay.sh``, "" for none."""

    def __init__(self, path: str, *, force: bool = False, replay: Callable[[TaskOutcome], str] | None = None) -> None:
        self.path = os.path.abspath(path)
        self.force, self.replay = force, replay

    def check(self) -> None:
        """BadInput when the directory cannot be used: not ours, not writable. Called before anything is run."""
        parent = self.path
        while not os.path.lexists(parent):
            parent = os.path.dirname(parent)
        if not os.path.isdir(parent):
            raise _refused(parent, "is not a directory", "name another --results directory")
        try:  # what access() says is not so on every file system: /proc, NFS, an overlay that is full
            os.rmdir(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=parent))
        except OSError as error:
            words = f"cannot be written to: {error.strerror}"
            raise _refused(parent, words, "name another --results directory") from None
        if foreign := [] if self.force else self._foreign():
            listed = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
            cure = "name an empty directory, or say --force to put the results beside them"
            raise _refused(self.path, f"holds files that are no results of a former run: {listed}", cure)

    def deliver(self, outcome: TaskOutcome, workspace: str) -> None:
        """Store what `outcome` names, from the task's directory `workspace`."""
        self.check()
        exists = os.path.isdir(self.path)
        beside = f".{os.path.basename(self.path)}.{outcome.task_id}.{os.getpid()}.partial"
        staging = os.path.join(self.path if exists else os.path.dirname(self.path), beside)
        try:
            os.makedirs(staging)
            try:
                self._fill(staging, outcome, workspace)
                if exists:
                    self._replace(staging)
                else:
                    os.rename(staging, self.path)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        except OSError as error:
            words = f"cannot store the results in {self.path}: {error.strerror or error}"
            raise InfrastructureError(f"{words} (make room there, or name another --results directory)") from None

    def _fill(self, staging: str, outcome: TaskOutcome, workspace: str) -> None:
        source, target = paths.open_root(workspace), paths.open_root(staging)
        try:
            for group in outcome.artifacts:
                for file in group.files if group.upload else ():
                    copy_out(source, file.source, target, file.path)
            for log in outcome.logs:
                copy_out(source, f"logs/{log.name}", target, log.name)
            if text := self.replay(outcome) if self.replay else "":
                _write(target, REPLAY, text, 0o755)
            _write(target, RESULT, json.dumps(outcome.data(), indent=2, ensure_ascii=False) + "\n", 0o644)
        finally:
            os.close(source)
            os.close(target)

    def _replace(self, staging: str) -> None:
        former = _files_of(self._former())
        for name in (RESULT, *sorted(former - {RESULT})):
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self.path, name))
        for name in sorted(former):
            _remove_empty(self.path, os.path.dirname(name))
        for name in sorted(_walk(staging), key=lambda name: (name == RESULT, name)):
            target = os.path.join(self.path, name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(os.path.join(staging, name), target)

    def _former(self) -> dict[str, Any]:
        with suppress(OSError, ValueError), open(os.path.join(self.path, RESULT), encoding="utf-8") as file:
            data = json.load(file)
            if isinstance(data, dict) and {"format", "plan", "status", "artifacts", "logs"} <= set(data):
                return data
        return {}

    def _foreign(self) -> list[str]:
        if not os.path.isdir(self.path):
            return []
        return sorted(set(_walk(self.path)) - _files_of(self._former()))


def _files_of(data: dict[str, Any]) -> set[str]:
    """Relative paths that a ``result.json`` says were written with it."""
    if not data:
        return set()
    found = {RESULT, REPLAY}
    with suppress(KeyError, TypeError, AttributeError):
        found |= {str(log["name"]) for log in data["logs"]}
        found |= {str(file["path"]) for group in data["artifacts"] for file in group["files"] if group["upload"]}
    return {name for name in found if not name.startswith("/") and ".." not in name.split("/")}


def _walk(top: str) -> Iterator[str]:
    """Relative paths of everything that is no directory; a killed run's staging directory is nobody's."""
    for folder, folders, names in os.walk(top):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            path = os.path.relpath(os.path.join(folder, name), top)
            if not path.split("/", 1)[0].endswith(".partial"):
                yield path


def _remove_empty(top: str, folder: str) -> None:
    """Remove `folder` below `top`, and its parents, as far as they are empty."""
    parts = folder.split("/") if folder else []
    with suppress(OSError):
        for depth in range(len(parts), 0, -1):
            os.rmdir(os.path.join(top, *parts[:depth]))


def _write(target: int, name: str, text: str, mode: int) -> None:
    with open(paths.open_new(target, name, mode), "w", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _refused(path: str, message: str, cure: str) -> BadInput:
    return BadInput([Problem("--results", "", f"{path} {message}", cure)])
