"""Files below a directory that a stranger's program has written to: reached step by step, no link followed.

Every function takes an open directory and a path relative to it. With the containers of a task gone nobody
changes the tree any more, yet what they left in it (links, fifos, trees of any depth) stays hostile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def directory(root: int, path: str = "") -> Iterator[int]:
    """An open descriptor of the directory `path` below `root`; OSError (ELOOP, ENOTDIR) at a link."""
    current = os.dup(root)
    try:
        for part in parts_of(path):
            below = os.open(part, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def open_root(path: str) -> int:
    """Open a directory that must not itself be a link."""
    return os.open(path, _DIRECTORY)


def open_new(root: int, path: str, mode: int) -> int:
    """Create a file for writing that did not exist before, with exactly `mode` whatever the umask."""
    parent, name = os.path.split(path)
    with directory(root, parent) as where:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        created = os.open(name, flags, mode, dir_fd=where)
    os.fchmod(created, mode)
    return created


def open_regular(root: int, path: str) -> int:
    """Open a regular file for reading; OSError for anything else, and never a wait at a fifo."""
    parent, name = os.path.split(path)
    with directory(root, parent) as where:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=where)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(f"{path} is not a regular file")
    return opened


def make_directories(root: int, path: str, mode: int = 0o755) -> None:
    """Make `path` and its parents below `root`; what exists must be directories."""
    parts = parts_of(path)
    for depth in range(len(parts)):
        with directory(root, "/".join(parts[:depth])) as where:
            try:
                os.mkdir(parts[depth], mode, dir_fd=where)
            except FileExistsError:
                continue
            os.chmod(parts[depth], mode, dir_fd=where)


def empty(root: int) -> None:
    """Remove everything in the directory `root`, at any depth, without recursion and without leaving it.

    Directories are moved up to `root` before they are looked into, so neither the depth of a tree nor the
    length of its paths costs anything. A file system mounted inside is an error, not something to delete.
    """
    device = os.fstat(root).st_dev
    number = 0
    while True:
        with os.scandir(root) as found:
            entries = list(found)
        if not entries:
            return
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=root)
                continue
            if entry.stat(follow_symlinks=False).st_dev != device:
                raise OSError(f"a file system is mounted at {entry.name}: it is not removed")
            number = _raise_children(root, entry.name, number)
            os.rmdir(entry.name, dir_fd=root)


def _raise_children(root: int, name: str, number: int) -> int:
    below = os.open(name, _DIRECTORY, dir_fd=root)
    try:
        with os.scandir(below) as found:
            entries = list(found)
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.name, dir_fd=below)
                continue
            while True:
                number += 1
                target = f".removing-{number}"
                try:
                    os.stat(target, dir_fd=root, follow_symlinks=False)
                except FileNotFoundError:
                    break
            os.rename(entry.name, target, src_dir_fd=below, dst_dir_fd=root)
    finally:
        os.close(below)
    return number


def parts_of(path: str) -> list[str]:
    """The components of a relative path; ValueError for one that could lead elsewhere."""
    parts = [part for part in path.split("/") if part]
    if path.startswith("/") or any(part in {".", ".."} for part in parts):
        raise ValueError(f"not a path below a directory: {path!r}")
    return parts
