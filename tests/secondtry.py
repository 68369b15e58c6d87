"""What `pytest --reruns 1`, and so CI, makes of a test that fails and then passes: it is told, and few may be so.

CI's machines share their cores with others, and hundreds of tests run real containers. A test that passes the second
time does not hold a change back, but its first failure is printed whole: it is a race to be found.
"""

from __future__ import annotations

from typing import Any

import pytest

MOST = 3
"""Tests of one run that may need a second try; more is no accident."""


def _second_tries(config: pytest.Config) -> list[Any]:
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    return reporter.stats.get("rerun", []) if reporter else []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if len(_second_tries(session.config)) > MOST and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    tries = _second_tries(config)
    if not tries:
        return
    terminalreporter.section(f"{len(tries)} tried a second time, at most {MOST} may be")
    for report in tries:
        terminalreporter.write_line(f"RERUN {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
