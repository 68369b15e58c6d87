"""A Kerberos realm of its own: a real KDC (MIT krb5) on loopback, its database and keytabs in one directory.

Nothing of the host's Kerberos is read or changed: every program gets `environ`, and a test gives the same to
the programs that shall know the realm.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from tests.ports import own_port

__all__ = ["Realm", "why_no_realm"]

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local")
_CLIENTS = """\
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
# TCP only: a KDC that is down refuses the connection at once.
udp_preference_limit = 1
default_keytab_name = FILE:{folder}/no.keytab
default_client_keytab_name = FILE:{folder}/no.keytab
default_ccache_name = FILE:{folder}/no.ccache
[realms]
{realm} = {{
    kdc = 127.0.0.1:{port}
}}
[domain_realm]
localhost = {realm}
"""
_KDC = """\
[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
{realm} = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
    supported_enctypes = aes256-cts-hmac-sha1-96:normal
    default_principal_flags = +preauth
}}
[logging]
kdc = FILE:{folder}/kdc.log
default = FILE:{folder}/krb5.log
"""


def why_no_realm() -> str:
    """What is missing here for a `Realm`; empty when nothing is."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    packages = "Debian: krb5-kdc and krb5-admin-server, EL: krb5-server"
    return f"{', '.join(missing)} not installed ({packages})" if missing else ""


class Realm:
    """A KDC in `folder`; a context manager. `start` and `stop` may alternate, the port and the database stay."""

    def __init__(self, folder: Path, name: str = "ADJUTANT.TEST") -> None:
        self.folder, self.name = folder, name
        folder.mkdir(parents=True)
        self.port = own_port()
        self.log = folder / "kdc.log"
        self._kdc: subprocess.Popen[bytes] | None = None
        values = {"realm": name, "folder": folder, "port": self.port}
        (folder / "krb5.conf").write_text(_CLIENTS.format(**values))
        (folder / "kdc.conf").write_text(_KDC.format(**values))
        self._run("kdb5_util", "create", "-s", "-W", "-P", "master")

    @property
    def environ(self) -> Mapping[str, str]:
        """What a program needs in its environment to know this realm, and no other."""
        return {"KRB5_CONFIG": str(self.folder / "krb5.conf"), "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf")}

    def __enter__(self) -> Realm:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Have the KDC answer."""
        with (self.folder / "kdc.out").open("ab") as out:
            self._kdc = subprocess.Popen(
                [_program("krb5kdc"), "-n"], env=self._environ(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        deadline = time.monotonic() + 20
        while self._kdc.poll() is None and time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        msg = f"the KDC does not answer: {(self.folder / 'kdc.out').read_text()}"
        raise RuntimeError(msg)

    def stop(self) -> None:
        """Have nobody answer."""
        if self._kdc is not None:
            self._kdc.terminate()
            self._kdc.wait()
            self._kdc = None

    def add(self, principal: str, *options: str) -> str:
        """A principal with a random key, its full name. `options` are addprinc's, e.g. "-maxlife", "5 seconds"."""
        self.admin("addprinc", "-randkey", *options, principal)
        return f"{principal}@{self.name}"

    def keytab(self, file: Path, *principals: str, new_key: bool = False) -> Path:
        """Write the keys of principals to a keytab (0600); with `new_key` keys made now, which end all others."""
        self.admin("ktadd", "-k", str(file), *([] if new_key else ["-norandkey"]), *principals)
        return file

    def admin(self, *words: str) -> str:
        """One command of kadmin.local."""
        return self._run("kadmin.local", *words)

    def _run(self, program: str, *words: str) -> str:
        realm = ["-r", self.name]
        done = subprocess.run(
            [_program(program), *realm, *words], env=self._environ(), capture_output=True, text=True, check=False
        )
        # kadmin.local ends with 0 whatever happened.
        if done.returncode or (program == "kadmin.local" and ": " in done.stderr.replace("WARNING: ", "")):
            msg = f"{program} {' '.join(words)}: {done.stderr}"
            raise RuntimeError(msg)
        return done.stdout

    def _environ(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("KRB5")}
        return {**others, **self.environ}


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise RuntimeError(why_no_realm())
    return found
