"""Certificates of a hub that speaks TLS: an authority, the hub's own certificate, and its users' (contract 1.3)."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["Authority", "common_name"]


class Authority:
    """A certificate authority with its files in `folder`; what it signs is valid for one day.

    `bundle` is the authority's certificate (PEM), for `serverca`.
    """

    def __init__(self, folder: Path, name: str = "Adjutant test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.bundle = folder / "ca.crt"
        self._key = folder / "ca.key"
        self._make(self.bundle, self._key, name, "basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")

    def user(self, name: str) -> Path:
        """A client certificate with its key in one PEM file; `name` is its CN."""
        return self._signed(name, "extendedKeyUsage=clientAuth")

    def server_context(self) -> ssl.SSLContext:
        """For a server on 127.0.0.1 that asks for, but does not demand, a certificate of this authority."""
        both = self._signed("127.0.0.1", "extendedKeyUsage=serverAuth", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        context.load_verify_locations(self.bundle)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _signed(self, name: str, *extensions: str) -> Path:
        certificate, key, both = (self.folder / f"{name}.{end}" for end in ("crt", "key", "pem"))
        self._make(certificate, key, name, *extensions, "basicConstraints=CA:FALSE", signed=True)
        both.touch(mode=0o600)
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        return both

    def _make(self, certificate: Path, key: Path, name: str, *extensions: str, signed: bool = False) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc"]
        command += [
            "-days",
            "1",
            "-subj",
            f"/O=Adjutant tests/CN={name}",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ]
        command += ["-config", "/dev/null"]
        for extension in extensions:
            command += ["-addext", extension]
        if signed:
            command += ["-CA", str(self.bundle), "-CAkey", str(self._key)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            msg = f"openssl made no certificate for {name}: {done.stderr}"
            raise RuntimeError(msg)


def common_name(connection: Any) -> str | None:
    """The CN of the certificate that the client of a connection showed; None without one."""
    if not isinstance(connection, ssl.SSLSocket):
        return None
    subject: Any = (connection.getpeercert() or {}).get("subject", ())
    return next((value for part in subject for name, value in part if name == "commonName"), None)
