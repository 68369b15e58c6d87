"""scheduler.*: what an admin sees of the scheduler, and a way to run it."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from .. import scheduler
from ..caller import Exports
from .queries import matching, page


class SchedulerExports(Exports):
    def doRun(self, force: bool = False) -> bool:
        self._caller.require("admin")
        return scheduler.run(self._db, force=force)

    def getTaskRuns(self, clauses: Any = None, fields: Any = None, opts: Any = None) -> Any:
        del fields
        return page(matching([asdict(each) for each in self._db.runs.values()], clauses), opts)

    def getTaskRefusals(self, clauses: Any = None, fields: Any = None, opts: Any = None) -> Any:
        del fields
        return page(matching([asdict(each) for each in self._db.refusals.values()], clauses), opts)

    def getLogMessages(self, clauses: Any = None, fields: Any = None, opts: Any = None) -> Any:
        del fields
        return page(matching([asdict(each) for each in self._db.messages.values()], clauses), opts)

    def getHostData(self, hostID: int | None = None, clauses: Any = None, fields: Any = None) -> list[dict[str, Any]]:
        del fields
        rows: list[dict[str, Any]] = [
            {"host_id": host.id, "data": host.data}
            for host in self._db.hosts.values()
            if host.data is not None and hostID in (None, host.id)
        ]
        return matching(rows, clauses)
