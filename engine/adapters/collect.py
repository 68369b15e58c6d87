"""Finding and copying what the steps left in the workspace: regular files only, no link followed.

(Field study 3.2 no. 8.) What is chosen is decided by `engine.core.results`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from engine.adapters import paths
from engine.core.errors import TaskFailed
from engine.core.recipe import Artifact
from engine.core.results import MAX_DEPTH, MAX_ENTRIES, FileKind, FoundFile, may_hold

_CHUNK = 1024 * 1024


def scan(root: int, artifacts: Sequence[Artifact]) -> list[FoundFile]:
    """Every entry of every directory that may hold an artifact; `root` is the open workspace.

    TaskFailed when there are more than `MAX_ENTRIES`, or a directory cannot be read by this user.
    """
    found: list[FoundFile] = []
    waiting = [""]
    while waiting:
        path = waiting.pop()
        try:
            entries = _list(root, path)
        except PermissionError:
            fault = artifacts[0].fails
            raise TaskFailed(fault, f"the directory {ascii(path)} cannot be read by others") from None
        found += entries
        if len(found) > MAX_ENTRIES:
            raise TaskFailed(artifacts[0].fails, f"more than {MAX_ENTRIES} files where artifacts are looked for")
        waiting += [
            entry.path
            for entry in entries
            if entry.kind == "directory" and entry.path.count("/") < MAX_DEPTH and may_hold(artifacts, entry.path)
        ]
    return found


def _list(root: int, path: str) -> list[FoundFile]:
    listed = []
    with paths.directory(root, path) as where, os.scandir(where) as entries:
        for entry in entries:
            info = entry.stat(follow_symlinks=False)
            kind = _kind(info.st_mode)
            listed.append(
                FoundFile(
                    path=f"{path}/{entry.name}" if path else entry.name,
                    kind=kind,
                    bytes=info.st_size,
                    allocated=info.st_blocks * 512,
                    readable=kind != "file" or os.access(entry.name, os.R_OK, dir_fd=where, effective_ids=True),
                )
            )
            if len(listed) > MAX_ENTRIES:
                break
    return listed


def _kind(mode: int) -> FileKind:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "link" if stat.S_ISLNK(mode) else "other"


def copy_out(root: int, path: str, target_directory: int, target: str) -> int:
    """Copy a collected file to `target` below another directory; its size in bytes.

    The copy is a new file without setuid, setgid and sticky bits. OSError as the system gives it.
    """
    source = paths.open_regular(root, path)
    try:
        mode = 0o755 if os.fstat(source).st_mode & 0o100 else 0o644
        paths.make_directories(target_directory, os.path.dirname(target))
        made = paths.open_new(target_directory, target, mode)
        try:
            return _copy(source, made)
        finally:
            os.close(made)
    finally:
        os.close(source)


def _copy(source: int, target: int) -> int:
    size = 0
    while True:
        try:
            count = os.copy_file_range(source, target, _CHUNK * 16)
        except OSError:
            break  # across file systems, or one that cannot: go on by reading and writing
        if count == 0:
            return size
        size += count
    while data := os.read(source, _CHUNK):
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(target, rest) :]
        size += len(data)
    return size
