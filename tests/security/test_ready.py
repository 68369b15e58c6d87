"""A worker does not report ready on a host that is not fit, and says why."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from engine.adapters.podman import PodmanManager
from engine.core.errors import InfrastructureError
from engine.core.facts import Settings
from engine.core.spec import VolumeMount
from engine.selftest.ready import require_ready
from engine.selftest.run import run_self_test
from engine.worker.housekeeping import Housekeeping
from engine.worker.options import HubOptions

pytestmark = pytest.mark.podman


@pytest.fixture
def settings(manager: PodmanManager, tmp_path: Path, task_image: str) -> Settings:
    return Settings(
        worker_id=manager.config.worker_id, workdir=str(tmp_path / "work"), adjutant_task_image_default=task_image
    )


def test_a_fit_host(settings: Settings, manager: PodmanManager) -> None:
    results = require_ready(settings, manager)
    assert sum(result.name.startswith("selftest.") for result in results) > 90


@pytest.fixture
def late_hub() -> Iterator[str]:
    """The address of a hub whose clock is years behind; it answers one request."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = b"<?xml version='1.0'?><methodResponse><params/></methodResponse>"
        head = f"HTTP/1.0 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: {len(text)}\r\n\r\n"

        def answer() -> None:
            peer, _address = server.accept()
            with peer:
                asked = b""
                while b"</methodCall>" not in asked:  # all of it: closing with a rest unread would reset
                    asked += peer.recv(65536)
                peer.sendall(head.encode() + text)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/kojihub"
        thread.join(10)


def test_a_wrong_clock(settings: Settings, manager: PodmanManager, late_hub: str) -> None:
    hub = HubOptions(server=late_hub, keytab="/nonexistent", minspace=1, maxjobs=1)
    with pytest.raises(InfrastructureError, match="not fit to run tasks") as caught:
        require_ready(settings, manager, hub=hub)
    assert "clock: " in str(caught.value)
    assert "hub.keytab" not in str(caught.value)  # the login says it


def test_a_hub_that_is_away_is_the_logins_affair(settings: Settings, manager: PodmanManager) -> None:
    hub = HubOptions(server="http://127.0.0.1:9/kojihub", minspace=1, maxjobs=1)
    results = {result.name: result.level for result in require_ready(settings, manager, hub=hub)}
    assert results["hub"] == results["clock"] == "unknown"


@pytest.mark.parametrize("self_test", [False, True])
def test_root_is_said(
    settings: Settings, manager: PodmanManager, caplog: pytest.LogCaptureFixture, self_test: bool
) -> None:
    Housekeeping(settings, lambda: manager, self_test=self_test, hub=HubOptions(minspace=1, maxjobs=1)).self_check()
    said = [record for record in caplog.records if "runs as root" in record.getMessage()]
    assert len(said) == (1 if os.geteuid() == 0 else 0)


def test_an_image_that_is_none(settings: Settings, manager: PodmanManager, tiny_image: str) -> None:
    unfit = evolve(settings, adjutant_task_image_default=tiny_image)
    with pytest.raises(InfrastructureError, match="not fit to run tasks") as caught:
        require_ready(unfit, manager)
    assert "image.package.rpm-build: missing: the package, rpmbuild (install rpm-build in the image)" in str(
        caught.value
    )


class Leaky(PodmanManager):
    """A manager that forgets the network switch: what a broken adapter or podman would do."""

    def run(self, spec, **more):  # type: ignore[no-untyped-def]
        return super().run(evolve(spec, network_disabled=False), **more)


def test_a_wall_that_is_not_there(settings: Settings, manager: PodmanManager) -> None:
    with Leaky(manager.config) as leaky, pytest.raises(InfrastructureError, match=r"selftest\.build\.") as caught:
        require_ready(settings, leaky)
    for name in ("selftest.build.interfaces", "selftest.tool.interfaces", "selftest.build.reach_host"):
        assert name in str(caught.value)


class Generous(PodmanManager):
    """A manager that hands podman's own socket to every container: who has it, has the host."""

    def run(self, spec, **more):  # type: ignore[no-untyped-def]
        path = self.service.url.removeprefix("unix://")
        mount = VolumeMount(source=path, target=path, read_only=False)
        return super().run(evolve(spec, mounts=(*spec.mounts, mount)), **more)


def test_podmans_socket_in_a_container(settings: Settings, manager: PodmanManager) -> None:
    with Generous(manager.config) as generous:
        results = run_self_test(settings, generous)
        path = generous.service.url.removeprefix("unix://")
    assert any(path in result.found for result in results if result.fatal), [str(result) for result in results]
