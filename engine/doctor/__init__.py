"""Is this host fit to run tasks? The same checks by hand (`engine doctor`) and before a worker reports ready."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from attrs import evolve

from engine.adapters.images import PodmanImages
from engine.adapters.podman_service import PodmanService
from engine.core.errors import EngineError
from engine.core.facts import Settings
from engine.core.health import CheckResult, ok, problem, unknown
from engine.core.host import judge_absent
from engine.core.image_contents import judge_config
from engine.core.manager import ContainerManager
from engine.doctor.credentials import check_credentials
from engine.doctor.host import check_memory, check_secrets, check_selinux, check_space, check_user
from engine.doctor.image import check_image
from engine.doctor.podman import PODMAN_LINES, check_containers, check_podman, container_lines
from engine.doctor.remote import HubAccess, check_hub, check_registry

LOCAL_MINSPACE = 2048
"""MiB that must be free where there is no hub to say it: room for one buildroot and its build."""


class Podman(ContainerManager, Protocol):
    """A container manager that can also say what podman is made of, and where it answers."""

    @property
    def service(self) -> PodmanService: ...

    def version(self) -> str:
        """podman's version."""

    def info(self) -> dict[str, Any]:
        """What ``podman info`` says."""


def run_checks(
    settings: Settings,
    manager: Podman,
    hub: HubAccess | None = None,
    *,
    ask_hub: bool = True,
    login_follows: bool = False,
    images: Iterable[str] = (),
) -> list[CheckResult]:
    """Every check, in the order an operator would look; never raises for what is wrong with the host.

    What could not be looked at is a line, too: `unknown`, with the reason. `images` are those that recipes name.
    Without `hub`, or with `ask_hub` False, the hub is not asked, and `login_follows` leaves all but its clock to the
    login, which waits for a hub that is away. A worker must not report ready when one result is `fatal`.
    """
    checks = _Checks()
    version = checks.run("podman.service", lambda: _service(manager))
    silent = "" if version else "podman's service does not answer"
    info: Mapping[str, Any] = checks.ask("podman.info", manager.info, {}) if version else {}
    checks.run("user", lambda: check_user(info or None), first=True)
    if info:
        checks.run("podman.info", lambda: check_podman(info, version[0].found.split()[1]))
    checks.fill(PODMAN_LINES, silent or "podman does not say what it is made of")
    checks.run("memory", lambda: check_memory(settings))
    maxjobs, minspace = (hub.maxjobs, hub.minspace) if hub else (1, LOCAL_MINSPACE)
    checks.run("selinux", lambda: check_selinux(settings, maxjobs))
    checks.run("secrets", lambda: check_secrets(settings.adjutant_secrets))
    paths = [_existing(settings.workdir)]
    root = str((info.get("store") or {}).get("graphRoot") or "")
    paths += [root] if root and os.path.isdir(root) else []
    checks.run("disk", lambda: check_space(paths, minspace))
    if version:
        cgroup = str((info.get("host") or {}).get("cgroupVersion") or "")
        checks.run("image", lambda: _default_image(settings, manager, cgroup))
        for image in _other_images(settings, images):
            checks.run(f"image.present.{image}", partial(_other_image, settings, image))
    absent = f"{settings.adjutant_task_image_default} is not on this host"
    checks.fill(("registry", "image.present"), silent or "see above")
    checks.fill(container_lines(settings), silent or (absent if checks.worse("image.present") else "see above"))
    if hub is not None and ask_hub:
        if not login_follows:
            checks.run("hub.login", lambda: check_credentials(hub))
        checks.run("hub", lambda: _before_login(check_hub(hub)) if login_follows else check_hub(hub))
    checks.fill(("hub", "clock"), "the hub was not asked")
    return checks.results


class _Checks:
    """Gathers results; what raises becomes one."""

    def __init__(self) -> None:
        self.results: list[CheckResult] = []

    def run(self, name: str, check: Callable[[], list[CheckResult]], *, first: bool = False) -> list[CheckResult]:
        """Results that are not fatal; [] when the check could not be made. `first`: they go before all others."""
        try:
            found = check()
        except EngineError as error:
            found = [problem(name, str(error), getattr(error, "cure", "") or "see the error")]
        self.results = [*found, *self.results] if first else [*self.results, *found]
        return [result for result in found if not result.fatal]

    def ask(self, name: str, question: Callable[[], Any], fallback: Any) -> Any:
        try:
            return question()
        except EngineError as error:
            self.results.append(problem(name, str(error), "see the error"))
            return fallback

    def fill(self, names: Iterable[str], why: str) -> None:
        """A line for each of `names` that has none: it could not be looked at."""
        known = {result.name for result in self.results}
        self.results += [unknown(name, why) for name in names if name not in known]

    def worse(self, name: str) -> bool:
        """Whether the line `name` is there and not ok."""
        return any(result.name == name and result.level != "ok" for result in self.results)


def _before_login(results: list[CheckResult]) -> list[CheckResult]:
    """What is wrong with the hub, the login says better, or waits for it to end; a wrong clock it cannot get over."""
    return [
        evolve(result, level="unknown") if result.fatal and result.name != "clock" else result for result in results
    ]


def _service(manager: Podman) -> list[CheckResult]:
    return [ok("podman.service", f"podman {manager.version()} answers")]


def _default_image(settings: Settings, manager: Podman, cgroup: str) -> list[CheckResult]:
    image, policy = settings.adjutant_task_image_default, settings.adjutant_image_pull_policy
    present = PodmanImages().inspect(image) is not None
    results = [check_registry(image, present=present, policy=policy)]
    if not present:
        return [*results, judge_absent("image.present", image, policy)]
    results += [ok("image.present", image)]
    results += check_image(image, manager, worker_id=settings.worker_id, name=f"doctor-image-{os.getpid()}")
    return [*results, *check_containers(settings, manager, image, cgroup)]


def _other_images(settings: Settings, images: Iterable[str]) -> list[str]:
    """The images of rules and recipes, each once, without the default one."""
    named = [*(rule.image for rule in settings.adjutant_images), *images]
    return [image for image in dict.fromkeys(named) if image != settings.adjutant_task_image_default]


def _other_image(settings: Settings, image: str) -> list[CheckResult]:
    """Is it here or to be had, and fit by its own configuration? What is in it depends on what its tasks need."""
    policy = settings.adjutant_image_pull_policy
    found = PodmanImages().inspect(image)
    results = []
    if found is None or policy == "always":
        results += [check_registry(image, present=found is not None, policy=policy)]
    if found is None:
        results += [judge_absent("image.present", image, policy)]
    else:
        results += [ok("image.present", image), *judge_config(found[1], platform.machine())]
    return [evolve(result, name=f"{result.name}.{image}") for result in results]


def _existing(path: str) -> str:
    """`path`, or the nearest directory above it that exists."""
    while path != "/" and not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
