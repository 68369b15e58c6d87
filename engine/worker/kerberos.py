"""Why a Kerberos login failed. koji's gssapi_login only says "401 Unauthorized", and logs the library's traceback.

`diagnose` asks the Kerberos library itself, step by step with the same names: the keytab, the ticket from it,
the hub's service ticket. What it finds decides what happens: a setting to correct, a KDC to wait for, or an error.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
from contextlib import suppress
from typing import Any

import koji
from attrs import frozen

from engine.core.errors import BadInput, Problem
from engine.worker.options import HubOptions

logger = logging.getLogger(__name__)

# Minor codes of the krb5 mechanism (com_err's, as unsigned numbers).
_KRB5 = 0x96C73A00
_CLIENT_UNKNOWN, _SERVICE_UNKNOWN, _WRONG_KEY, _CLOCK = _KRB5 + 6, _KRB5 + 7, _KRB5 + 24, _KRB5 + 37
_BUSY, _UNREACHABLE = _KRB5 + 29, _KRB5 + 156


class KerberosError(koji.GSSAPIAuthError):  # type: ignore[misc]  # koji has no types
    """A login failed, and why. `problem` is set when a setting must be corrected."""

    problem: Problem | None = None


@frozen
class Trouble:
    """What is wrong, in words with the cure; `passing`: it may be right without anyone changing anything;
    `healed`: it was set right just now."""

    text: str
    problem: Problem | None = None
    passing: bool = False
    healed: bool = False


def principal(hub: HubOptions) -> str:
    """The worker's principal: as set, or from the host's full name (contract 1.3)."""
    return hub.krb_principal or hub.host_principal_format % socket.getfqdn()


def prepare(ccache: str) -> None:
    """Take away a cache file that cannot serve: an empty one, as kojid does, and one of another user.

    The default lies where everybody can make files: whoever owns the file could read our ticket. BadInput when it
    cannot be removed.
    """
    path = _file(ccache)
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return
    foreign = found.st_uid not in {0, os.geteuid()}
    if foreign or (stat.S_ISREG(found.st_mode) and found.st_size == 0):
        try:
            os.unlink(path)
        except OSError:
            if foreign:
                message = f"{path} belongs to uid {found.st_uid}"
                raise BadInput(
                    [Problem("settings", "hub.ccache", message, "remove it, or name another path")]
                ) from None


def diagnose(hub_host: str, name: str, keytab: str, ccache: str) -> Trouble:
    """What keeps principal `name` from logging in at HTTP/`hub_host`, which has answered 401."""
    from gssapi.raw.misc import GSSError

    try:
        _obtain(hub_host, name, keytab, ccache)
        return Trouble(
            f"the hub does not accept the ticket of {name} for HTTP/{hub_host} (does its web server offer Negotiate at "
            "/kojihub/ssllogin, has it the service's present key, do the clocks agree?)"
        )
    except GSSError as error:
        found = error
    if found.min_code in {_BUSY, _UNREACHABLE}:
        return Trouble(_words(found), passing=True)
    if problem := _keytab_problem(name, keytab):
        return Trouble(str(problem), problem)
    # The keytab alone must do: a cache of another principal, or a broken one, only stands in the way.
    path = _file(ccache)
    if os.path.isfile(path):
        with suppress(GSSError, OSError):
            _obtain(hub_host, name, keytab, "MEMORY:adjutant-diagnosis")
            os.unlink(path)
            return Trouble(f"removed the credential cache {path}: {_words(found)}", passing=True, healed=True)
    return Trouble(_words(found) + _cure(found, name, hub_host, keytab))


def _obtain(hub_host: str, name: str, keytab: str, ccache: str) -> None:
    import gssapi

    krb5 = gssapi.MechType.kerberos
    credentials = gssapi.Credentials(
        name=gssapi.Name(name, gssapi.NameType.kerberos_principal),
        usage="initiate",
        mechs=[krb5],
        store={"client_keytab": keytab, "ccache": ccache},
    )
    service = gssapi.Name(f"HTTP@{hub_host}", gssapi.NameType.hostbased_service)
    gssapi.SecurityContext(name=service, creds=credentials, usage="initiate", mech=krb5).step()


def _keytab_problem(name: str, keytab: str) -> Problem | None:
    """What is wrong with the keytab, if anything: not there, not readable, damaged, without this principal."""
    import gssapi
    from gssapi.raw.misc import GSSError

    path = _file(keytab)
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        cure = f"put the keytab there, readable for uid {os.geteuid()} only, or set hub.cert or hub.user"
        return Problem("settings", "hub.keytab", f"cannot read {path}: {error.strerror}", cure)
    try:
        gssapi.Credentials(
            name=gssapi.Name(name, gssapi.NameType.kerberos_principal),
            usage="accept",
            mechs=[gssapi.MechType.kerberos],
            store={"keytab": keytab},
        )
    except GSSError as error:
        cure = f"`klist -k {path}` lists what it holds; set hub.krb_principal or hub.host_principal_format"
        return Problem("settings", "hub.keytab", f"{path}: {_words(error)}", cure)
    return None


def _cure(error: Any, name: str, hub_host: str, keytab: str) -> str:
    """What to do about the errors that have one cure, by their minor code."""
    cures = {
        _CLIENT_UNKNOWN: f"make {name} in the KDC, or set hub.krb_principal",
        _SERVICE_UNKNOWN: f"name the hub in hub.server as the KDC does; it looks for HTTP/{hub_host}",
        _WRONG_KEY: f"the key in {_file(keytab)} is not the KDC's any more: write the keytab anew",
        _CLOCK: "set this host's clock",
    }
    found = cures.get(error.min_code, "")
    return f" ({found})" if found else ""


def _words(error: Any) -> str:
    """The library's own sentence, without the wrapping."""
    return " ".join(" ".join(error.get_all_statuses(error.min_code, False)).split())


def _file(name: str) -> str:
    """The path of a keytab or cache that is a file, with or without its type; of others "": KEYRING:, KCM:, DIR:."""
    kind, colon, rest = name.partition(":")
    if colon and "/" not in kind:
        return rest if kind in {"FILE", "WRFILE"} else ""
    return name
