"""Kerberos tickets as a web server checks them (contract 1.3), in a process of its own for each.

Run as a program it reads the token of a Negotiate header on stdin and prints the principal behind it; the keytab
comes in $KRB5_KTNAME. So no environment variable of a realm is ever set in the process of the tests.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define

__all__ = ["TicketCheck"]


@define
class TicketCheck:
    """Opens tickets for the service whose key is in `keytab`. `environ` names the realm."""

    keytab: Path
    environ: Mapping[str, str]
    before: Sequence[str] = ()  #: words before the program's own, e.g. to give it another clock

    def principal_of(self, token: str) -> str | None:
        """Who sent the token of a Negotiate header; None when the ticket is not accepted."""
        replays = f"file2:{self.keytab}.rcache"
        done = subprocess.run(
            [*self.before, sys.executable, __file__],
            input=token,
            env={**os.environ, **self.environ, "KRB5_KTNAME": f"FILE:{self.keytab}", "KRB5RCACHENAME": replays},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.strip() or None


def _main() -> int:
    import gssapi
    from gssapi.raw.misc import GSSError

    try:
        context = gssapi.SecurityContext(creds=gssapi.Credentials(usage="accept"), usage="accept")
        context.step(base64.b64decode(sys.stdin.read()))
    except (GSSError, binascii.Error) as error:
        print(error, file=sys.stderr)
        return 1
    print(context.initiator_name if context.complete else "")
    return 0


if __name__ == "__main__":
    sys.exit(_main())
