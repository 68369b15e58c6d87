"""The `koji` command line client, pointed at a stand-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .standin import HubStandIn

__all__ = ["CommandLine"]


class CommandLine:
    """Runs the `koji` that is installed next to this Python, as a user of `hub`.

    Its configuration is written to `directory`, where commands also run (downloads land there).
    """

    def __init__(self, hub: HubStandIn, directory: Path, user: str = "admin", password: str | None = None) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "koji.conf"
        config.write_text(
            f"[koji]\nserver = {hub.url}\ntopurl = {hub.topurl}\ntopdir = {hub.topdir}\n"
            "authtype = password\nmax_retries = 3\nretry_interval = 1\npoll_interval = 1\n"
        )
        program = Path(sys.executable).with_name("koji")
        self._command = [str(program), "-c", str(config), "--user", user, "--password", password or user]

    def __call__(self, *args: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """What `koji ARGS` said: returncode, stdout, stderr."""
        return subprocess.run(
            [*self._command, *args],
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
