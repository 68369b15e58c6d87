"""What a host calls in every pass of its loop (contract 2.2, appendix B)."""

from __future__ import annotations

from typing import Any

import koji

from .. import scheduler, task_rules
from ..caller import Exports
from ..records import Host


def host_row(host: Host) -> dict[str, Any]:
    return {
        "arches": host.arches,
        "capacity": host.capacity,
        "comment": None,
        "description": None,
        "enabled": host.enabled,
        "id": host.id,
        "name": host.name,
        "ready": host.ready,
        "task_load": host.task_load,
        "update_ts": host.update_ts,
        "user_id": host.user_id,
    }


class HostExports(Exports):
    def getID(self) -> int:
        return self._host.id

    def getHost(self) -> dict[str, Any]:
        return host_row(self._host)

    def isEnabled(self) -> bool:
        return self._host.enabled

    def updateHost(self, task_load: float, ready: bool, data: dict[str, Any] | None = None) -> None:
        self._host.task_load, self._host.ready = float(task_load), bool(ready)
        self._host.update_ts = self._db.clock.now()
        if data is not None:
            self.setHostData(data)
        self._db.touch()

    def setHostData(self, hostdata: dict[str, Any]) -> None:
        if not isinstance(hostdata, dict):
            msg = f"Invalid type for hostdata: {type(hostdata)}"
            raise koji.ParameterError(msg)
        self._host.data = hostdata
        self._db.touch()

    def getHostTasks(self) -> list[dict[str, Any]]:
        rows = []
        for task in self._db.tasks.values():
            if task_rules.is_owned(task, self._host):
                row: dict[str, Any] = {"id": task.id, "waiting": task.waiting, "weight": task.weight}
                if task_rules.needs_alert(self._db, task):
                    row["alert"] = True
                rows.append(row)
        return rows

    def getTasks(self) -> list[dict[str, Any]]:
        """Tasks assigned to the host; with none, after a scheduler run."""
        mine = scheduler.assigned_to(self._db, self._host)
        if not mine and scheduler.run(self._db):
            mine = scheduler.assigned_to(self._db, self._host)
        return [task_rules.as_offer(task) for task in mine]

    def getLoadData(self) -> list[list[dict[str, Any]]]:
        row = host_row(self._host) | {"channels": sorted(self._host.channels)}
        tasks = [task_rules.as_offer(task) for task in scheduler.assigned_to(self._db, self._host)]
        return [[row], tasks]
