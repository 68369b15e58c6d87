"""What the daemon is made with."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from attrs import frozen

from engine.core.facts import Settings
from engine.worker.options import HubOptions, WorkerOptions


@frozen(kw_only=True)
class WorkerConfig:
    """Everything the daemon was told."""

    settings: Settings
    hub: HubOptions
    worker: WorkerOptions
    rlimits: Mapping[str, str]
    force_lock: bool = False
    once: bool = False

    def koji_options(self) -> SimpleNamespace:
        """The attributes that the library reads from kojid's options."""
        hub, settings = self.hub, self.settings
        values: dict[str, Any] = {
            "maxjobs": hub.maxjobs,
            "minspace": hub.minspace,
            "sleeptime": hub.sleeptime,
            "workdir": settings.workdir,
            "topdir": settings.topdir,
            "topurl": settings.topurl,
            "mockdir": settings.workdir,
            "log_timestamps": hub.log_timestamps,
        }
        return SimpleNamespace(**values)
