"""RPM files: the header fields a hub stores, and minimal packages for tests that need none to install.

Reading goes through Koji's own header parser, as the rpm bindings are not on PyPI.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import koji

__all__ = ["minimal_rpm", "read_header", "sighdr_hash"]

_NAME, _VERSION, _RELEASE, _EPOCH, _BUILDTIME, _ARCH = 1000, 1001, 1002, 1003, 1006, 1022
_VENDOR, _DISTRIBUTION, _PACKAGER = 1011, 1010, 1015
_SOURCERPM, _SOURCEPACKAGE, _BUILDARCHS = 1044, 1106, 1089
_SIGMD5 = 1004
#: digests of the header that stand in for a missing MD5, best first (contract 5.4)
_LABELLED = (("sha3-256", 279), ("sha256", 273), ("sha1", 269))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def read_header(path: Path) -> dict[str, Any]:
    """name, version, release, epoch, arch ("src" for source packages), sourcerpm, buildtime, payloadhash, size."""
    header = koji.RawHeader(koji.rip_rpm_hdr(str(path)))
    signature = koji.RawHeader(koji.rip_rpm_sighdr(str(path)))
    sourcerpm = header.get(_SOURCERPM)
    source = bool(header.get(_SOURCEPACKAGE)) or sourcerpm is None
    epoch = header.get(_EPOCH)
    return {
        "name": _text(header.get(_NAME)),
        "version": _text(header.get(_VERSION)),
        "release": _text(header.get(_RELEASE)),
        "epoch": epoch[0] if epoch else None,
        "arch": "src" if source else _text(header.get(_ARCH)),
        "sourcerpm": None if source or sourcerpm is None else _text(sourcerpm),
        "buildtime": (header.get(_BUILDTIME) or [0])[0],
        "payloadhash": _payloadhash(signature),
        "size": path.stat().st_size,
    }


def _payloadhash(signature: koji.RawHeader) -> str:
    md5 = signature.get(_SIGMD5)
    if md5:
        return str(md5.hex())
    for label, tag in _LABELLED:
        if tag in signature:
            return f"{label}::{_text(signature.get(tag))}"
    return ""


def sighdr_hash(path: Path) -> str:
    """MD5 of the signature header, as a hub stores it per signature."""
    return hashlib.md5(koji.rip_rpm_sighdr(str(path))).hexdigest()


def minimal_rpm(
    name: str,
    version: str,
    release: str,
    arch: str,
    *,
    sourcerpm: str | None = None,
    size: int = 0,
    buildtime: int = 1700000000,
) -> bytes:
    """A package with a header and no files: enough to import, not to install.

    arch "src" makes a source package; else `sourcerpm` defaults to NAME-VERSION-RELEASE.src.rpm. The
    payload is padded with zeros to `size` bytes in all; ValueError when the header alone is longer.
    """
    source = arch == "src"
    entries: list[tuple[int, int, bytes, int]] = [
        (_NAME, 6, name.encode() + b"\0", 1),
        (_VERSION, 6, version.encode() + b"\0", 1),
        (_RELEASE, 6, release.encode() + b"\0", 1),
        (_BUILDTIME, 4, struct.pack(">I", buildtime), 1),
        (_DISTRIBUTION, 6, b"Koji\0", 1),
        (_VENDOR, 6, b"Koji\0", 1),
        (_PACKAGER, 6, b"Koji\0", 1),
        (_ARCH, 6, (b"x86_64" if source else arch.encode()) + b"\0", 1),
    ]
    if source:
        entries.append((_SOURCEPACKAGE, 4, struct.pack(">I", 1), 1))
    else:
        text = sourcerpm or f"{name}-{version}-{release}.src.rpm"
        entries.append((_SOURCERPM, 6, text.encode() + b"\0", 1))
    header = _header(entries)
    digest = hashlib.md5(header)
    label = f"{name}-{version}-{release}".encode()[:65]
    lead = struct.pack(">4sBBhh66shh16s", b"\xed\xab\xee\xdb", 3, 0, int(source), 1, label, 1, 5, b"")
    start = len(lead) + len(_padded(_header([(_SIGMD5, 7, bytes(16), 16)]))) + len(header)
    if size and size < start:
        msg = f"{name}: {size} bytes cannot hold a header of {start}"
        raise ValueError(msg)
    payload = bytes(max(0, size - start))
    digest.update(payload)
    return lead + _padded(_header([(_SIGMD5, 7, digest.digest(), 16)])) + header + payload


def _header(entries: list[tuple[int, int, bytes, int]]) -> bytes:
    index, store = b"", b""
    for tag, kind, data, count in entries:
        if kind == 4:
            store += bytes(-len(store) % 4)
        index += struct.pack(">IIII", tag, kind, len(store), count)
        store += data
    return b"\x8e\xad\xe8\x01" + bytes(4) + struct.pack(">II", len(entries), len(store)) + index + store


def _padded(signature: bytes) -> bytes:
    return signature + bytes(-len(signature) % 8)
