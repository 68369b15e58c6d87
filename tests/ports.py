"""Ports on loopback for servers that are told one, or that end and start again under the same address."""

from __future__ import annotations

import itertools
import os
import socket

FIRST, SLOTS, EACH = 10_000, 200, 100
"""Below what the kernel hands out for port 0 and for connections (32768 and up): nobody is given one by chance.

A process of the tests has `EACH` of its own, by its pid, so that two of them never choose the same.
"""
_numbers = itertools.count()


def own_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no other test process takes while it is not listened on."""
    first = FIRST + os.getpid() % SLOTS * EACH
    for _attempt in range(EACH):
        port = first + next(_numbers) % EACH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"none of the ports {first} to {first + EACH - 1} of 127.0.0.1 is free")
