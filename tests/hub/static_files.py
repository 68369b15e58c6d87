"""The hub's file tree over HTTP, read-only: whole files, one byte range, directory listings."""

from __future__ import annotations

import html
import os
import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path

__all__ = ["send"]

_CHUNK = 1 << 18
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


def send(request: BaseHTTPRequestHandler, top: Path, path: str, *, body: bool) -> None:
    """Answer a GET or HEAD for `path` below `top`; 404 for what is not there or not below."""
    clean = os.path.normpath(path)
    target = top / clean
    if clean.startswith("..") or not target.exists():
        request.send_error(404)
    elif target.is_dir():
        _send_listing(request, target, body=body)
    else:
        _send_file(request, target, body=body)


def _send_listing(request: BaseHTTPRequestHandler, folder: Path, *, body: bool) -> None:
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    links = "".join(f'<a href="{html.escape(name)}">{html.escape(name)}</a>\n' for name in names)
    page = f"<pre>\n{links}</pre>\n".encode()
    request.send_response(200)
    request.send_header("Content-Type", "text/html; charset=utf-8")
    request.send_header("Content-Length", str(len(page)))
    request.end_headers()
    if body:
        request.wfile.write(page)


def _send_file(request: BaseHTTPRequestHandler, file: Path, *, body: bool) -> None:
    size = file.stat().st_size
    first, last = 0, size - 1
    wanted = _RANGE.match(request.headers.get("Range") or "")
    if wanted:
        first = int(wanted[1])
        last = min(size - 1, int(wanted[2] or size - 1))
        if first > last:
            request.send_error(416)
            return
    request.send_response(206 if wanted else 200)
    if wanted:
        request.send_header("Content-Range", f"bytes {first}-{last}/{size}")
    request.send_header("Content-Type", "application/octet-stream")
    request.send_header("Content-Length", str(last - first + 1))
    request.send_header("Last-Modified", request.date_time_string(int(file.stat().st_mtime)))
    request.end_headers()
    if not body:
        return
    with file.open("rb") as source:
        source.seek(first)
        left = last - first + 1
        while left > 0 and (chunk := source.read(min(_CHUNK, left))):
            request.wfile.write(chunk)
            left -= len(chunk)
