"""Where podman of a user can make cgroups that limit processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.adapters.this_host import pids_controlled, this_host


def files(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def cgroups(tmp_path: Path) -> Path:
    (tmp_path / "cgroup").mkdir()
    return tmp_path / "cgroup"


def test_cgroup_v1_binds_nothing(cgroups: Path, tmp_path: Path) -> None:
    files(tmp_path, self="8:pids:/\n")
    assert not pids_controlled(1000, cgroups, tmp_path / "self")


@pytest.mark.parametrize(("controllers", "bound"), [("cpu memory pids", True), ("cpu memory", False)])
def test_the_users_systemd_has_what_was_delegated(controllers: str, bound: bool, cgroups: Path, tmp_path: Path) -> None:
    files(cgroups, cgroup_controllers="cpu io memory pids")
    user = cgroups / "user.slice/user-1000.slice/user@1000.service"
    user.mkdir(parents=True)
    files(user, cgroup_controllers=controllers)
    files(tmp_path, self="0::/\n")
    assert pids_controlled(1000, cgroups, tmp_path / "absent") == bound


def test_a_service_has_what_was_delegated_to_it(cgroups: Path, tmp_path: Path) -> None:
    files(cgroups, cgroup_controllers="cpu io memory pids")
    place = cgroups / "system.slice/koji-adjutant.service"
    place.mkdir(parents=True)
    files(place, cgroup_controllers="memory pids")
    files(tmp_path, self="0::/system.slice/koji-adjutant.service\n")
    assert pids_controlled(1000, cgroups, tmp_path / "self")


@pytest.mark.skipif(os.geteuid() != 0, reason="says what holds for root")
def test_root_needs_no_ids_of_its_own() -> None:
    assert (this_host().own_ids, this_host().own_pids) == (0, 0)
