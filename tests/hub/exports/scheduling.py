"""scheduler.*: what an admin sees of the scheduler, and a way to run it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import asdict

from .. import scheduler, task_rules
from ..caller import Exports
from .queries import matching, page


class SchedulerExports(Exports):
    def doRun(self, force: bool = False) -> bool:
        self._caller.require("admin")
        return scheduler.run(self._db, force=force)

    def getTaskRuns(self, clauses: Any = None, fields: Any = None, opts: Any = None) -> Any:
        return self._query(self._db.runs.values(), clauses, fields, opts)

    def getTaskRefusals(self, clauses: Any = None, fields: Any = None, opts: Any = None) -> Any:
        return self._query(self._db.refusals.values(), clauses, fields, opts)

    def getLogMessages(self, clauses: Any = None, fields: Any = None, opts: Any = None) -> Any:
        return self._query(self._db.messages.values(), clauses, fields, opts)

    def _query(self, records: Iterable[Any], clauses: Any, fields: list[str] | None, opts: Any) -> Any:
        """Rows with their own fields, or with those asked for, which may be the host's name or the task's."""
        records = list(records)
        rows = [self._joined(record) for record in records]
        own = list(asdict(records[0])) if records else []
        wanted = own if fields is None else fields
        found = page(matching(rows, clauses), opts)
        return [{name: row[name] for name in wanted} for row in found] if isinstance(found, list) else found

    def _joined(self, record: Any) -> dict[str, Any]:
        task = None if record.task_id is None else task_rules.as_row(self._db.tasks[record.task_id])
        host = None if record.host_id is None else self._db.hosts[record.host_id]
        more = {"host_name": None if host is None else host.name}
        return (task or {}) | more | asdict(record)

    def getHostData(self, hostID: int | None = None, clauses: Any = None, fields: Any = None) -> list[dict[str, Any]]:
        del fields
        rows: list[dict[str, Any]] = [
            {"host_id": host.id, "data": host.data}
            for host in self._db.hosts.values()
            if host.data is not None and hostID in (None, host.id)
        ]
        return matching(rows, clauses)
