"""Kerberos tickets as a web server checks them (contract 1.3)."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

__all__ = ["principal_of"]


def principal_of(token: str, keytab: Path) -> str | None:
    """The principal behind the token of a Negotiate header, or None for one that `keytab` does not open.

    Needs python gssapi, as the client does.
    """
    import gssapi
    from gssapi.raw.misc import GSSError

    credentials = gssapi.Credentials(usage="accept", store={"keytab": f"FILE:{keytab}"})
    context = gssapi.SecurityContext(creds=credentials, usage="accept")
    try:
        context.step(base64.b64decode(token))
    except (GSSError, binascii.Error):
        return None
    return str(context.initiator_name) if context.complete else None
