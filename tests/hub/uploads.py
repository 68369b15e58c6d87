"""Files below work/: where a client may put them, raw and encoded uploads, reading them back.

Rules: contract 3.4 and the observed edge cases (holes accepted, -1 appends, an existing file is not
overwritten from 0 without `overwrite`).
"""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import koji

from . import sessions, task_rules
from .caller import Caller
from .database import Database

__all__ = ["check", "list_output", "read_output", "store_raw", "take_chunk"]

_CHUNK = 1 << 20


class _Adler32:
    """zlib's adler32 with the interface of hashlib, spelled as Koji does."""

    def __init__(self) -> None:
        self._value = 1

    def update(self, data: bytes) -> None:
        self._value = zlib.adler32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value & 0xFFFFFFFF:08x}"


def _digest(kind: str) -> Any:
    if kind == "adler32":
        return _Adler32()
    if kind in {"md5", "sha256"}:
        return hashlib.new(kind)
    msg = f"Unsupported digest type: {kind}"
    raise koji.GenericError(msg)


def _directory(db: Database, path: str, volume: str | None) -> Path:
    """The directory below work/ that an upload path names; raises for one that leaves it."""
    if volume not in (None, "DEFAULT"):
        msg = f"No such volume: {volume}"
        raise koji.GenericError(msg)
    clean = os.path.normpath(path)
    if not path or clean.startswith(("..", "/")) or clean == ".":
        msg = f"Invalid upload directory: {path}"
        raise koji.GenericError(msg)
    return Path(db.paths.work()) / clean


def _writable(caller: Caller, path: str, name: str, volume: str | None) -> Path:
    """The file an upload goes to, its directory made; raises for whom it does not belong to."""
    db = caller.db
    user = caller.login()
    if not name or "/" in name or name.startswith("."):
        msg = f"Invalid upload filename: {name}"
        raise koji.GenericError(msg)
    folder = _directory(db, path, volume)
    parts = folder.relative_to(db.paths.work()).parts
    if parts[0] == "tasks":
        if len(parts) < 3 or not parts[2].isdecimal():
            msg = f"Invalid task upload directory: {path}"
            raise koji.GenericError(msg)
        task_rules.owned(db, int(parts[2]), sessions.host_of(db, caller.session))
        folder.mkdir(parents=True, exist_ok=True)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        marker = folder / ".user"
        if marker.exists() and marker.read_text() != str(user.id):
            msg = f"Invalid upload directory, not owner: {path}"
            raise koji.GenericError(msg)
        marker.write_text(str(user.id))
    return folder / name


def store_raw(
    caller: Caller,
    *,
    path: str,
    name: str,
    data: bytes,
    verify: str,
    offset: int,
    overwrite: bool,
    volume: str | None,
) -> dict[str, Any]:
    """One octet-stream upload; `offset` -1 appends."""
    target = _writable(caller, path, name, volume)
    digest = _digest(verify) if verify else None
    if target.is_symlink() or (target.exists() and not target.is_file()):
        msg = f"destination not a file: {target}"
        raise koji.GenericError(msg)
    if target.exists() and offset == 0 and not overwrite:
        msg = f"upload path exists: {target}"
        raise koji.GenericError(msg)
    with target.open("r+b" if target.exists() else "w+b") as out:
        if offset == -1:
            offset = out.seek(0, os.SEEK_END)
        else:
            out.seek(offset)
        if overwrite:
            out.truncate()
        out.write(data)
        out.flush()
        if not overwrite and out.seek(0, os.SEEK_END) != offset + len(data):
            msg = f"Incorrect file length: {target}"
            raise koji.GenericError(msg)
    answer: dict[str, Any] = {"size": len(data), "fileverify": verify, "offset": offset}
    if digest is not None:
        digest.update(data)
        answer["hexdigest"] = digest.hexdigest()
    return answer


def take_chunk(
    caller: Caller, path: str, name: str, size: int, checksum: Any, offset: int, data: str, volume: str | None
) -> bool:
    """uploadFile: False when the chunk is not what the client says it sent."""
    kind, expected = checksum if isinstance(checksum, (list, tuple)) else ("md5", checksum)
    target = _writable(caller, path, name, volume)
    digest = _digest(kind)
    if offset == -1:
        if not target.exists():
            return False
        digest.update(target.read_bytes())
        return target.stat().st_size == size and expected in (None, digest.hexdigest())
    raw = base64.b64decode(data)
    digest.update(raw)
    if len(raw) != size or expected not in (None, digest.hexdigest()):
        return False
    if offset == 0 and target.exists() and not name.endswith(".log"):
        msg = f"file already exists: {target}"
        raise koji.GenericError(msg)
    with target.open("r+b" if target.exists() else "w+b") as out:
        out.seek(offset)
        if offset == 0:
            out.truncate()
        out.write(raw)
    return True


def check(
    db: Database, path: str, name: str, *, verify: str | None, tail: int | None, volume: str | None
) -> dict[str, Any] | None:
    """checkUpload: size and mtime, with `verify` the digest of the file (or its last `tail` bytes)."""
    target = _directory(db, path, volume) / name
    if not target.is_file():
        return None
    status = target.stat()
    answer: dict[str, Any] = {"size": status.st_size, "mtime": status.st_mtime}
    if verify is None:
        return answer
    digest, length = _digest(verify), 0
    with target.open("rb") as source:
        if tail is not None:
            source.seek(max(0, status.st_size - tail))
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            length += len(chunk)
    return answer | {"sumlength": length, "hexdigest": digest.hexdigest()}


def list_output(db: Database, task_id: int, *, stat: bool, all_volumes: bool) -> Any:
    """The files of a task, by path below its directory."""
    top = Path(db.paths.task(task_id))
    found: dict[str, Any] = {}
    for file in sorted(each for each in top.rglob("*") if each.is_file()):
        name = str(file.relative_to(top))
        status = file.stat()
        details: dict[str, Any] = {
            "st_atime": status.st_atime,
            "st_ctime": status.st_ctime,
            "st_mtime": status.st_mtime,
            "st_size": str(status.st_size),
        }
        if all_volumes:
            found[name] = {"DEFAULT": details} if stat else ["DEFAULT"]
        else:
            found[name] = details
    return found if stat or all_volumes else list(found)


def read_output(db: Database, task_id: int, name: str, offset: int, size: int, volume: str | None) -> str:
    """A piece of a task's file in base64; a negative offset counts from its end."""
    folder = _directory(db, db.paths.taskrelpath(task_id), volume)
    target = folder / os.path.normpath(name)
    if not target.is_relative_to(folder) or not target.is_file():
        msg = f'no file "{name}" output by task {task_id}'
        raise koji.GenericError(msg)
    with target.open("rb") as source:
        source.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
        return base64.encodebytes(source.read(size)).decode()
