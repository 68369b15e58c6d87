"""Options and fixtures of every test."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.secondtry import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="Rewrite the golden files (make golden); refused under CI."
    )
    parser.addoption("--hub-config", metavar="FILE", help="TOML that names a live hub, see tests/worker/livehub.py.")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-golden") and os.environ.get("CI"):
        raise pytest.UsageError("--update-golden is refused under CI: golden files change in reviewed commits")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """With `pytest -n`, give out whole files, see tests/sharing.py."""
    from tests.sharing import Sharing

    return Sharing(config, log)
