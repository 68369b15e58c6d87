"""A builder of Koji's own parts: koji.daemon.TaskManager with the handlers of koji.tasks.

Run as `python -m tests.hub.upstream_builder URL USER WORKDIR [SLEEPTIME]`; SIGTERM ends it as it ends kojid
(tasks freed, not ready, logged out). It shows that the stand-in is a hub to the code every builder uses.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import NoReturn

import koji
import koji.daemon
import koji.tasks


class Manager(koji.daemon.TaskManager):  # type: ignore[misc]  # koji has no types
    """Without the look for mock's configuration files, which only a host with mock has."""

    def _scanLocalBuildroots(self) -> dict[int, object]:
        return {}


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit


def main(url: str, user: str, workdir: str, sleeptime: str = "0.1") -> None:
    options = SimpleNamespace(
        workdir=workdir,
        mockdir=workdir,
        maxjobs=10,
        minspace=1,
        sleeptime=float(sleeptime),
        buildroot_basic_cleanup_delay=120,
        buildroot_final_cleanup_delay=86400,
        failed_buildroot_lifetime=14400,
    )
    session = koji.ClientSession(url, {"user": user, "password": user, "use_fast_upload": True, "max_retries": 3})
    session.login()
    session.exclusiveSession(force=True)
    if session.echo("OK") != ["OK"]:
        raise SystemExit(1)
    # TaskManager takes nothing above 4 times the processors, and a machine running tests may well be
    os.getloadavg = lambda: (0.0, 0.0, 0.0)
    manager = Manager(options, session)
    manager.findHandlers(vars(koji.tasks))
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(manager, "restart_pending", True))
    taken = False
    try:
        while True:
            if not taken:
                manager.updateBuildroots()
            manager.updateTasks()
            taken = manager.getNextTask()
            if not taken:
                time.sleep(options.sleeptime)
    except (SystemExit, KeyboardInterrupt, koji.tasks.ServerExit):
        manager.shutdown()
        session.logout()


if __name__ == "__main__":
    main(*sys.argv[1:])
