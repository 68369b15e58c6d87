"""podman's configuration by host, and what the set-up says when something is missing."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from engine.adapters import podman_host
from tools import hostconf, standin

ROOT = Path(__file__).parents[2]
ORDINARY = podman_host.Host(systemd=True, cgroup2=True, runc=False, nofile=1048576, nproc=32768)
BARE = podman_host.Host(systemd=False, cgroup2=False, runc=True, nofile=20000, nproc=32768)


def test_ordinary_host_needs_no_configuration() -> None:
    assert podman_host.containers_conf(ORDINARY) is None


def test_bare_host_gets_runc_cgroupfs_and_its_own_limits() -> None:
    text = podman_host.containers_conf(BARE)
    assert text is not None
    assert tomllib.loads(text) == {
        "engine": {"runtime": "runc", "cgroup_manager": "cgroupfs", "events_logger": "file"},
        "containers": {"default_ulimits": ["nofile=20000:20000", "nproc=32768:32768"]},
    }


def test_configuration_goes_when_the_host_no_longer_needs_it(tmp_path: Path) -> None:
    conf = tmp_path / "deeper" / "containers.conf"
    hostconf.write(conf, BARE)
    assert conf.exists()
    hostconf.write(conf, ORDINARY)
    assert not conf.exists()


def test_users_own_containers_conf_is_respected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KOJI_ADJUTANT_CACHE", str(tmp_path))
    monkeypatch.setenv("CONTAINERS_CONF", "/etc/mine.conf")
    assert standin.containers_conf() == Path("/etc/mine.conf")
    monkeypatch.delenv("CONTAINERS_CONF")
    assert standin.containers_conf() is None


@pytest.mark.parametrize(
    "name",
    [
        "containers.conf",
        "containers.conf.d/50-site.conf",
        "containers.rootless.conf.d/50-site.conf",
        "containers.rootless.conf.d/1001/50-site.conf",
    ],
)
@pytest.mark.parametrize("owner", ["etc", "home"])
def test_what_an_operator_configured_is_not_hidden_from_a_private_service(
    tmp_path: Path, owner: str, name: str
) -> None:
    """With CONTAINERS_CONF podman would read none of it: proxies, limits, networks, the runtime."""
    if podman_host.containers_conf(podman_host.this_host()) is None:
        pytest.skip("this host needs no containers.conf of ours")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    folders = {"etc": tmp_path / "etc", "home": tmp_path / "home/containers"}
    (tmp_path / "etc/registries.conf.d").mkdir(parents=True)
    (tmp_path / "etc/registries.conf.d/50-site.conf").touch()
    assert podman_host.needed_conf(environ, tmp_path / "etc") is not None
    path = folders[owner] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert podman_host.needed_conf(environ, tmp_path / "etc") is None


def test_what_is_missing_names_make_setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KOJI_ADJUTANT_CACHE", str(tmp_path))
    with pytest.raises(standin.NotSetUp, match="make setup"):
        standin.world_repo()


def test_make_help_lists_every_target() -> None:
    out = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = {line.split()[1] for line in out.splitlines()}
    assert listed == {"help", "setup", "demo", "test", "lint", "golden", "schema", "bench", "clean"}
