"""podman: does it answer, what is it made of, do its limits bind, does its network start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from engine.adapters import rootless
from engine.adapters.this_host import this_host
from engine.core.errors import ContainerError
from engine.core.facts import Settings
from engine.core.health import CheckResult, ok, problem, unknown
from engine.core.host import judge_cgroups, judge_podman, judge_runtime, judge_storage, judge_topdir
from engine.core.manager import ContainerManager
from engine.core.spec import LABEL_ROLE, LABEL_WORKER_ID, ContainerSpec, ResourceLimits, VolumeMount

_MEMORY = 64 * 1024**2
_PIDS = 48
_SECONDS = 60

# `dd` touches a block of four times the limit; the shell is refused a fork by the pids limit.
_TRIES = f"""
if dd if=/dev/zero of=/dev/null bs={4 * _MEMORY} count=1 2>/dev/null; then echo memory free; else echo memory bound; fi
(i=0; while [ $i -lt {2 * _PIDS} ]; do sleep 2 & i=$((i+1)); done; echo pids free) 2>/dev/null || echo pids bound
if [ -d /topdir ]; then if ls /topdir >/dev/null 2>&1; then echo topdir readable; else echo topdir unreadable; fi; fi
echo end
"""


PODMAN_LINES = ("podman.version", "podman.runtime", "podman.storage", "podman.seccomp")


def check_podman(info: Mapping[str, Any], version: str) -> list[CheckResult]:
    """`info` is podman's own; judged without running anything."""
    host, store = info.get("host") or {}, info.get("store") or {}
    runtime = host.get("ociRuntime") or {}
    return [
        judge_podman(version),
        judge_runtime(str(runtime.get("name") or ""), str(runtime.get("version") or "")),
        judge_storage(str(store.get("graphDriverName") or ""), _text(store.get("graphOptions"))),
        _seccomp(host.get("security") or {}),
    ]


def _text(table: Any) -> Mapping[str, str]:
    return {str(key): str(value) for key, value in (table or {}).items()}


def _seccomp(security: Mapping[str, Any]) -> CheckResult:
    if security.get("seccompEnabled"):
        return ok("podman.seccomp", str(security.get("seccompProfilePath") or "default profile"))
    return problem("podman.seccomp", "podman has no seccomp", "a podman and kernel with seccomp are needed")


def container_lines(settings: Settings) -> tuple[str, ...]:
    """Names of what `check_containers` finds out."""
    return ("containers", "limits", "topdir", *(["network"] if settings.adjutant_network_enabled else []))


def check_containers(settings: Settings, manager: ContainerManager, image: str, cgroup: str) -> list[CheckResult]:
    """Run one small container: limits, the hub's tree, and a start with network where it is allowed."""
    results = []
    tree = os.path.isdir(settings.topdir)
    output: list[bytes] = []
    spec = _spec(settings, image, "limits", ("/bin/sh", "-c", _TRIES), network=False, tree=tree)
    try:
        outcome = manager.run(spec, timeout=_SECONDS, log=output.append)
    except ContainerError as error:
        results.append(problem("containers", str(error), error.cure or "podman run by hand as this user"))
        answers: set[str] = set()
    else:
        answers = set(b"".join(output).decode(errors="replace").splitlines())
        if "end" not in answers and not outcome.oom:
            results.append(problem("containers", f"a container ended with {outcome.exit_code}", "try podman run"))
        else:
            results.append(ok("containers", "start and end"))
    results.append(
        judge_cgroups(
            cgroup,
            rootless=rootless.rootless(),
            memory=_bound(answers, "memory"),
            pids=_bound(answers, "pids"),
        )
    )
    found = [state for state in ("readable", "unreadable") if f"topdir {state}" in answers]
    results.append(judge_topdir(settings.topdir, "absent" if not tree else found[0] if found else "unknown"))
    if settings.adjutant_network_enabled:
        results.append(_check_network(settings, manager, image))
    return results


def _bound(answers: set[str], limit: str) -> bool | None:
    return True if f"{limit} bound" in answers else False if f"{limit} free" in answers else None


def _check_network(settings: Settings, manager: ContainerManager, image: str) -> CheckResult:
    spec = _spec(settings, image, "network", ("/bin/sh", "-c", "true"), network=True, tree=False)
    try:
        outcome = manager.run(spec, timeout=_SECONDS)
    except ContainerError as error:
        cure = "rootless: /dev/net/tun and slirp4netns or pasta; or adjutant_network_enabled = false"
        return problem("network", str(error), cure)
    if not outcome.ok:
        return unknown("network", f"a container with network ended with {outcome.exit_code}")
    return ok("network", "a container with network starts")


def _spec(
    settings: Settings, image: str, part: str, argv: tuple[str, ...], *, network: bool, tree: bool
) -> ContainerSpec:
    mounts = (VolumeMount(source=settings.topdir, target="/topdir"),) if tree else ()
    return ContainerSpec(
        name=f"adjutant-{settings.worker_id}-doctor-{part}-{os.getpid()}",
        image=image,
        argv=argv,
        network_disabled=not network,
        mounts=mounts,
        own_ids=this_host().own_ids or None,
        limits=ResourceLimits(memory=_MEMORY, pids=_PIDS),
        labels={LABEL_WORKER_ID: settings.worker_id, LABEL_ROLE: "doctor"},
        stop_timeout=1,
        selinux_type=settings.selinux_type,
        selinux_level=settings.selinux_level,
    )
