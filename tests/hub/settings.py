"""Everything about the stand-in that a test may want shorter, smaller or different."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field

__all__ = ["Policy", "Settings"]

#: data of host.assertPolicy plus the task owner's permissions -> (allowed, reason text)
Policy = Callable[[dict[str, Any], set[str]], tuple[bool, str]]


def _admins_only(_data: dict[str, Any], permissions: set[str]) -> tuple[bool, str]:
    return "admin" in permissions, "Only admin can do this via default policy"


def _default_policies() -> dict[str, Policy]:
    return {"build_from_srpm": _admins_only, "build_from_repo_id": _admins_only}


@define
class Settings:
    """Hub options, upstream's defaults except `run_interval` (contract 2.9, 1.4, 3.1)."""

    run_interval: float = 0.1  #: seconds between two scheduler runs; 60 upstream
    ready_timeout: float = 180.0  #: seconds without updateHost until a host is not ready
    assign_timeout: float = 300.0  #: seconds a task may stay ASSIGNED
    soft_refusal_timeout: float = 900.0  #: seconds a soft refusal lasts
    host_timeout: float = 900.0  #: seconds without updateHost until OPEN tasks are freed
    max_jobs: int = 15  #: per host, unless the host's data says otherwise
    capacity_overcommit: float = 5.0
    session_renewal_timeout: float = 1440 * 60.0  #: seconds until a session expires; 0 is never
    max_request_length: int = 4 * 1024 * 1024  #: bytes of one XML-RPC request
    repo_tries: int = 3  #: newRepo tasks per repo request
    repo_auto: bool = False  #: True: every scheduler run also serves the repo queue (plays kojira)
    repo_owner: str = "kojira"  #: owner of newRepo tasks made by the queue
    policies: dict[str, Policy] = field(factory=_default_policies)  #: a missing policy allows
