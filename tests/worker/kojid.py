"""The builder that ours must not be told from, on a hub stand-in: kojid where there is one, else Koji's own parts.

`KOJI_ADJUTANT_KOJID` is the command that starts kojid (`/usr/sbin/kojid`, or an interpreter and the script); where
/etc/mock/koji holds configurations of another hub's buildroots it asks about those, too. Without the variable the
library's TaskManager does what kojid's loop does (tests/hub/upstream_builder.py).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from tests.hub import HubStandIn

COMMAND = os.environ.get("KOJI_ADJUTANT_KOJID", "")
ROOT = Path(__file__).parents[2]
CONF = """\
[kojid]
server = {hub.url}
topurl = {hub.topurl}
topdir = {hub.topdir}
user = {user}
password = {user}
workdir = {folder}/work
mockdir = {folder}/mock
sleeptime = {sleeptime}
minspace = 1
max_retries = 100
retry_interval = 1
offline_retry_interval = 1
"""


class OtherBuilder:
    """One such builder; what it prints is in `log`."""

    def __init__(self, hub: HubStandIn, folder: Path, *, user: str, sleeptime: int = 1) -> None:
        self.hub, self.folder, self.user, self.sleeptime = hub, folder, user, sleeptime
        self.log = folder / "builder.log"
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("work", "mock"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def start(self) -> OtherBuilder:
        conf = self.folder / "kojid.conf"
        conf.write_text(CONF.format(hub=self.hub, user=self.user, folder=self.folder, sleeptime=self.sleeptime))
        parts = [sys.executable, "-m", "tests.hub.upstream_builder", self.hub.url, self.user, self.folder / "work"]
        command = [*shlex.split(COMMAND), "--config", conf, "--fg", "--force-lock", "--verbose"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command if COMMAND else [*parts, str(self.sleeptime)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def children(self) -> list[int]:
        """Its processes, itself first."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [self.pid, *map(int, listed.split())]

    def terminate(self, timeout: float = 60.0) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def close(self) -> None:
        """End it, whatever the test did."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
