"""Source packages that rpmbuild would not make: header and payload are written here, with digests that are right."""

from __future__ import annotations

import gzip
import hashlib
import stat
import struct
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

_STRING, _STRINGS, _INT16, _INT32, _BIN = 6, 8, 3, 4, 7
_SIGNATURES, _IMMUTABLE = 62, 63
_SPECFILE = 1 << 5

Entry = tuple[int, int, bytes, int]
"""Tag, type, data and count of an entry of an RPM header."""


@frozen
class Member:
    """A file of the package: its name in header and payload, its content, or the target of a link."""

    name: str
    content: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    directory: str = ""


def write_srpm(
    path: Path,
    members: Sequence[Member],
    *,
    name: str = "evil",
    claimed: int | None = None,
    header_claims: int | None = None,
) -> Path:
    """A source package at `path`.

    `claimed` is how many bytes the package says its last file has, `header_claims` how many its header.
    """
    payload = gzip.compress(_cpio(members, claimed))
    header = _header(_IMMUTABLE, _entries(name, members, payload, claimed))
    signature = _header(
        _SIGNATURES,
        [
            (273, _STRING, hashlib.sha256(header).hexdigest().encode() + b"\0", 1),
            (269, _STRING, hashlib.sha1(header).hexdigest().encode() + b"\0", 1),
            (1000, _INT32, struct.pack(">I", len(header) + len(payload)), 1),
            (1004, _BIN, hashlib.md5(header + payload).digest(), 16),
        ],
    )
    if header_claims is not None:
        header = header[:12] + struct.pack(">I", header_claims) + header[16:]
    lead = struct.pack(">4sBBhh66shh16s", b"\xed\xab\xee\xdb", 3, 0, 1, 1, b"evil-1-1", 1, 5, b"")
    path.write_bytes(lead + signature + bytes(-len(signature) % 8) + header + payload)
    return path


def _entries(name: str, members: Sequence[Member], payload: bytes, claimed: int | None) -> list[Entry]:
    sizes = [len(member.content) for member in members]
    if claimed is not None:
        sizes[-1] = claimed

    def strings(tag: int, values: Sequence[str]) -> Entry:
        return tag, _STRINGS, b"".join(value.encode() + b"\0" for value in values), len(values)

    def numbers(tag: int, values: Sequence[int]) -> Entry:
        return tag, _INT32, struct.pack(f">{len(values)}I", *values), len(values)

    def text(tag: int, value: str) -> Entry:
        return tag, _STRING, value.encode() + b"\0", 1

    count = len(members)
    directories = list(dict.fromkeys(member.directory for member in members))
    links = [member.content.decode() if stat.S_ISLNK(member.mode) else "" for member in members]
    return [
        text(1000, name), text(1001, "1"), text(1002, "1"), (1004, 9, b"x\0", 1), (1005, 9, b"x\0", 1),
        numbers(1009, [min(sum(sizes), 2**32 - 1)]), text(1014, "x"), (1016, 9, b"x\0", 1),
        text(1021, "linux"), text(1022, "noarch"),
        numbers(1028, sizes),
        (1030, _INT16, struct.pack(f">{count}H", *(member.mode for member in members)), count),
        (1033, _INT16, bytes(2 * count), count),
        numbers(1034, [1700000000] * count),
        strings(1035, [_digest(member) for member in members]),
        strings(1036, links),
        numbers(1037, [_SPECFILE if member.name.endswith(".spec") else 0 for member in members]),
        strings(1039, ["root"] * count), strings(1040, ["root"] * count),
        numbers(1095, [1] * count), numbers(1096, range(1, count + 1)), strings(1097, [""] * count),
        numbers(1106, [1]),
        numbers(1116, [directories.index(member.directory) for member in members]),
        strings(1117, [member.name for member in members]), strings(1118, directories),
        text(1124, "cpio"), text(1125, "gzip"), text(1126, "9"),
        numbers(5011, [8]), strings(5092, [hashlib.sha256(payload).hexdigest()]), numbers(5093, [8]),
    ]  # fmt: skip


def _digest(member: Member) -> str:
    return hashlib.sha256(member.content).hexdigest() if stat.S_ISREG(member.mode) else ""


def _header(region: int, entries: Sequence[Entry]) -> bytes:
    """With the region that covers all of it, as rpm wants it since 4.0."""
    size = {_INT16: 2, _INT32: 4}
    index, store = b"", b""
    for tag, kind, data, count in sorted(entries):
        store += bytes(-len(store) % size.get(kind, 1))
        index += struct.pack(">IIII", tag, kind, len(store), count)
        store += data
    index = struct.pack(">IIII", region, _BIN, len(store), 16) + index
    store += struct.pack(">IIiI", region, _BIN, -len(index), 16)
    return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", len(index) // 16, len(store)) + index + store


def _cpio(members: Sequence[Member], claimed: int | None) -> bytes:
    """A "newc" archive; `claimed` instead of the last file's size."""
    archive = b""
    last = len(members)
    for number, member in enumerate([*members, Member("TRAILER!!!", mode=0)], 1):
        name = f"{member.directory}{member.name}".encode() + b"\0"
        size = claimed if claimed is not None and number == last else len(member.content)
        fields = (number, member.mode, 0, 0, 1, 1700000000, size, 0, 0, 0, 0, len(name), 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        archive += bytes(-len(archive) % 4) + member.content
        archive += bytes(-len(archive) % 4)
    return archive
