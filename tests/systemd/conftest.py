"""Fixtures: a machine with systemd as PID 1, and the worker's unit in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub import HubStandIn
from tests.podmanhost import podman_host
from tests.systemd.machine import Machine, why_no_machine, why_no_user_manager
from tests.systemd.unit import Unit, UserUnit
from tests.worker.conftest import hub, toy_image, toy_recipes

__all__ = ["hub", "podman_host", "toy_image", "toy_recipes"]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Has `tmp_path` with the host in common, and /usr/bin/engine."""
    if why_no_machine():
        pytest.skip(why_no_machine())
    made = Machine(tmp_path / "machine", [tmp_path, Path(sys.prefix)])
    try:
        made.run("ln", "-sf", Path(sys.prefix, "bin/engine"), "/usr/bin/engine")
        yield made
    finally:
        made.close()


@pytest.fixture
def unit(machine: Machine, hub: HubStandIn, toy_image: str, toy_recipes: Path, tmp_path: Path) -> Unit:
    """koji-adjutant.service as shipped, for the host builder1 of the hub; not started."""
    return Unit(machine, hub, toy_image, toy_recipes, tmp_path / "unit")


@pytest.fixture
def user_unit(machine: Machine, hub: HubStandIn, toy_image: str, toy_recipes: Path, tmp_path: Path) -> UserUnit:
    """The same for a worker that is no root."""
    if why_no_user_manager():
        pytest.skip(why_no_user_manager())
    return UserUnit(machine, hub, toy_image, toy_recipes, tmp_path / "unit")
