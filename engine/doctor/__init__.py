"""Is this host fit to run tasks? The same checks by hand (`engine doctor`) and before a worker reports ready."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from engine.adapters.images import PodmanImages
from engine.core.errors import EngineError
from engine.core.facts import Settings
from engine.core.health import CheckResult, ok, problem, warning
from engine.core.manager import ContainerManager
from engine.doctor.host import check_secrets, check_selinux, check_space, check_user
from engine.doctor.image import check_image
from engine.doctor.podman import check_containers, check_podman
from engine.doctor.remote import HubAccess, check_hub, check_registry

LOCAL_MINSPACE = 2048
"""MiB that must be free where there is no hub to say it: room for one buildroot and its build."""


class Podman(ContainerManager, Protocol):
    """A container manager that can also say what podman is made of."""

    def version(self) -> str:
        """podman's version."""

    def info(self) -> dict[str, Any]:
        """What ``podman info`` says."""


def run_checks(
    settings: Settings, manager: Podman, hub: HubAccess | None = None, *, ask_hub: bool = True
) -> list[CheckResult]:
    """Every check, in the order an operator would look; never raises for what is wrong with the host.

    Without `hub`, or with `ask_hub` False, the hub and its clock are left out. A worker must not report ready when
    one result is `fatal`.
    """
    checks = _Checks()
    version = checks.run("podman.service", lambda: _service(manager))
    info: Mapping[str, Any] = {}
    if version:
        info = checks.ask("podman.info", manager.info, {})
        checks.run("podman.info", lambda: check_podman(info, version[0].found.split()[1]))
    checks.run("user", lambda: check_user(info or None))
    maxjobs, minspace = (hub.maxjobs, hub.minspace) if hub else (1, LOCAL_MINSPACE)
    checks.run("selinux", lambda: check_selinux(settings, maxjobs))
    checks.run("secrets", lambda: check_secrets(settings.adjutant_secrets))
    paths = [_existing(settings.workdir)]
    root = str((info.get("store") or {}).get("graphRoot") or "")
    paths += [root] if root and os.path.isdir(root) else []
    checks.run("disk", lambda: check_space(paths, minspace))
    if version:
        cgroup = str((info.get("host") or {}).get("cgroupVersion") or "")
        checks.run("image", lambda: _images(settings, manager, cgroup))
    if hub is not None and ask_hub:
        checks.run("hub", lambda: check_hub(hub))
    return checks.results


class _Checks:
    """Gathers results; what raises becomes one."""

    def __init__(self) -> None:
        self.results: list[CheckResult] = []

    def run(self, name: str, check: Callable[[], list[CheckResult]]) -> list[CheckResult]:
        """Results that are not fatal; [] when the check could not be made."""
        try:
            found = check()
        except EngineError as error:
            found = [problem(name, str(error), getattr(error, "cure", "") or "see the error")]
        self.results += found
        return [result for result in found if not result.fatal]

    def ask(self, name: str, question: Callable[[], Any], fallback: Any) -> Any:
        try:
            return question()
        except EngineError as error:
            self.results.append(problem(name, str(error), "see the error"))
            return fallback


def _service(manager: Podman) -> list[CheckResult]:
    return [ok("podman.service", f"podman {manager.version()} answers")]


def _images(settings: Settings, manager: Podman, cgroup: str) -> list[CheckResult]:
    image, policy = settings.adjutant_task_image_default, settings.adjutant_image_pull_policy
    present = PodmanImages().inspect(image) is not None
    results = [check_registry(image, present=present, policy=policy)]
    if not present:
        level = problem if policy == "never" else warning
        cure = "engine image build NAME, or engine image pull"
        return [*results, level("image.present", f"{image} is not on this host", cure)]
    results += [ok("image.present", image)]
    results += check_image(image, manager, worker_id=settings.worker_id, name=f"doctor-image-{os.getpid()}")
    return [*results, *check_containers(settings, manager, image, cgroup)]


def _existing(path: str) -> str:
    """`path`, or the nearest directory above it that exists."""
    while path != "/" and not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
