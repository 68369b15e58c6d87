"""systemd's notification protocol (sd_notify(3)): one datagram of ``KEY=value`` lines. Silent without systemd."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

ALIVE_INTERVAL = 5.0


class Notifier:
    """Sends to $NOTIFY_SOCKET, from this process only: a forked task must not keep a stuck daemon alive.

    The variable is taken out of `environ`: podman, which we start, would say READY there in our name.
    """

    def __init__(self, environ: MutableMapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        address = self._variable = self._environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._process = os.getpid()
        watchdog = self._environ.get("WATCHDOG_USEC", "")
        # Half of what the unit allows is systemd's advice; a turn of the loop may come late.
        self._interval = min(ALIVE_INTERVAL, int(watchdog) / 4e6) if watchdog.isdecimal() else ALIVE_INTERVAL
        self._status = ""
        self._next = 0.0

    def restore(self) -> None:
        """Put the variable back, for a process that takes this one's place."""
        if self._variable:
            self._environ["NOTIFY_SOCKET"] = self._variable

    def send(self, **values: str | int) -> None:
        """Send values, e.g. ``READY=1``; a lost datagram is no error."""
        if not self._address or os.getpid() != self._process:
            return
        text = "\n".join(f"{key}={value}" for key, value in values.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)  # whoever does not read shall not stop us
            out.connect(self._address)
            out.send(text.encode())

    def status(self, text: str) -> None:
        """The line `systemctl status` shows; sent when it changed."""
        if text != self._status:
            self._status = text
            self.send(STATUS=" ".join(text.split()))

    def needs(self, seconds: float) -> None:
        """Starting or stopping may take so long from now, whatever the unit says; less changes nothing."""
        self.send(EXTEND_TIMEOUT_USEC=int(seconds * 1e6))

    def alive(self) -> None:
        """For WatchdogSec; called often, sent every few seconds."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            self.send(WATCHDOG=1)
