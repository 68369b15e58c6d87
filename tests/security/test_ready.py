"""A worker does not report ready on a host that is not fit, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve

from engine.adapters.podman import PodmanManager
from engine.core.errors import InfrastructureError
from engine.core.facts import Settings
from engine.selftest.ready import require_ready

pytestmark = pytest.mark.podman


@pytest.fixture
def settings(manager: PodmanManager, tmp_path: Path, task_image: str) -> Settings:
    return Settings(
        worker_id=manager.config.worker_id, workdir=str(tmp_path / "work"), adjutant_task_image_default=task_image
    )


def test_a_fit_host(settings: Settings, manager: PodmanManager) -> None:
    results = require_ready(settings, manager)
    assert sum(result.name.startswith("selftest.") for result in results) > 90


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
