"""A real registry on loopback as a child process, certificates by openssl, and a proxy that misbehaves."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ports import own_port

PROGRAM = "docker-registry"


class Registry:
    """docker-registry serving `folder` at `address` (``127.0.0.1:PORT``); `login` is (user, password)."""

    def __init__(self, folder: Path, *, login: tuple[str, str] | None = None, tls: bool = False) -> None:
        if shutil.which(PROGRAM) is None:
            pytest.skip(f"{PROGRAM} is not installed (Debian: package docker-registry)")
        self.folder, self.login = folder, login
        self.port = own_port()
        self.address = f"127.0.0.1:{self.port}"
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.ca = folder / "ca.crt" if tls else None
        self._child: subprocess.Popen[bytes] | None = None
        self._configure()

    def _configure(self) -> None:
        lines = [
            "version: 0.1",
            "log: {level: error}",
            f"storage: {{filesystem: {{rootdirectory: {self.data}}}, delete: {{enabled: true}}}}",
        ]
        http_keys = [f"addr: {self.address}"]
        if self.ca is not None:
            certificate, key = make_certificate(self.folder)
            http_keys.append(f"tls: {{certificate: {certificate}, key: {key}}}")
        lines.append(f"http: {{{', '.join(http_keys)}}}")
        if self.login is not None:
            users = self.folder / "htpasswd"
            made = subprocess.run(["htpasswd", "-Bbn", *self.login], capture_output=True, text=True, check=True)
            users.write_text(made.stdout.strip() + "\n")
            lines.append(f"auth: {{htpasswd: {{realm: test, path: {users}}}}}")
        (self.folder / "config.yml").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [PROGRAM, "serve", str(self.folder / "config.yml")], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        end = time.monotonic() + 20
        while not self._answers():
            if self._child.poll() is not None or time.monotonic() > end:
                raise AssertionError((self.folder / "log").read_text())
            time.sleep(0.05)

    def _answers(self) -> bool:
        context = ssl._create_unverified_context()
        made = http.client.HTTPSConnection(self.address, context=context, timeout=5)
        connection = made if self.ca else http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status in {200, 401}
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._child.wait(20)
            self._child = None

    def blobs(self) -> list[Path]:
        """Blob files, biggest first."""
        found = (self.data / "docker/registry/v2/blobs").rglob("data")
        return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """ca.crt in `folder` and a certificate of that CA for 127.0.0.1: (certificate, key)."""

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], cwd=folder, capture_output=True, check=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-days", "2", "-subj", "/CN=Test CA", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", *curve, "-subj", "/CN=127.0.0.1", "-keyout", "tls.key", "-out", "tls.csr")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    openssl(
        "x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "san", "-out", "tls.crt",
    )  # fmt: skip
    return folder / "tls.crt", folder / "tls.key"


Behaviour = Callable[[int, bytes], bool]
"""(number of the connection from 1, data from the server) -> False cuts the connection."""


@contextlib.contextmanager
def proxy(target: int, behaviour: Behaviour) -> Iterator[tuple[str, list[int]]]:
    """A TCP proxy to 127.0.0.1:`target`; gives its address and the list of connections it has seen."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[int] = []
    stopping = threading.Event()

    def pump(source: socket.socket, sink: socket.socket, check: Callable[[bytes], bool]) -> None:
        with contextlib.suppress(OSError):
            while not stopping.is_set() and (data := source.recv(65536)) and check(data):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def serve() -> None:
        while True:
            try:
                client, _address = listener.accept()
            except OSError:
                return
            seen.append(len(seen) + 1)
            number = len(seen)
            if not behaviour(number, b""):
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", target))
            threading.Thread(target=pump, args=(client, server, lambda _data: True), daemon=True).start()
            threading.Thread(
                target=pump, args=(server, client, lambda data, n=number: behaviour(n, data)), daemon=True
            ).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        stopping.set()
        listener.close()


def registries_conf(folder: Path, *insecure: str) -> Path:
    """A registries.conf that allows plain http for `insecure`."""
    path = folder / "registries.conf"
    path.write_text("".join(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in insecure))
    return path


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, **extra}
