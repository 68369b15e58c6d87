"""Before a worker reports ready: every check of `engine doctor`, then the self-test. One problem, and it does not."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from engine.core.errors import InfrastructureError
from engine.core.facts import Settings
from engine.core.health import CheckResult
from engine.doctor import Podman, run_checks
from engine.doctor.remote import HubAccess
from engine.selftest.run import run_self_test

logger = logging.getLogger(__name__)


def require_ready(
    settings: Settings,
    manager: Podman,
    *,
    hub: HubAccess | None = None,
    private: Iterable[str] = (),
    images: Iterable[str] = (),
) -> list[CheckResult]:
    """All results; InfrastructureError with every problem and its cure when there is one.

    The hub is asked once, for its clock; what else is wrong with it is left to the login, which follows. `private`
    are files of the worker that no task may see, `images` those that recipes name. Warnings are logged.
    """
    results = run_checks(settings, manager, hub, login_follows=True, images=images)
    bad = [result for result in results if result.fatal]
    if not bad:
        bound = next((result.level == "ok" for result in results if result.name == "limits"), True)
        results += run_self_test(settings, manager, private=private, memory_binds=bound)
        bad = [result for result in results if result.fatal]
    for result in results:
        if result.level in {"warning", "unknown"}:
            logger.warning("%s", result)
    if bad:
        lines = "\n".join(f"  {result.name}: {result.found} ({result.cure})" for result in bad)
        raise InfrastructureError(f"this host is not fit to run tasks (engine doctor --self-test):\n{lines}")
    logger.info("%d checks and tries passed", len(results))
    return results
