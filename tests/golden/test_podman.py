"""The goldens do not lie: podman makes the same container of the printed command and of the API's body."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from engine.adapters.podman import PodmanManager
from engine.core.errors import EngineError
from engine.core.plan import Plan
from tests.golden import cases
from tests.inspected import assert_same_inspect, here
from tests.podmanhost import podman

pytestmark = pytest.mark.podman


def plans() -> Iterator[tuple[str, Plan]]:
    for case in cases.cases():
        try:
            yield cases.case_id(case), cases.plan_of(case)
        except EngineError:
            continue  # a refusal: there is no container to compare


@pytest.fixture
def secrets(plan: Plan, podman_host: None, tmp_path: Path) -> Iterator[None]:
    names = {secret.name for step in plan.steps for secret in step.container.secrets}
    (tmp_path / "secret").write_text("secret")
    for name in names:
        podman("secret", "create", name, tmp_path / "secret")
    yield
    for name in names:
        podman("secret", "rm", name)


@pytest.mark.parametrize(("plan"), [pytest.param(plan, id=name) for name, plan in plans()])
def test_printed_and_posted_are_the_same(
    plan: Plan, manager: PodmanManager, tiny_image: str, secrets: None, tmp_path: Path
) -> None:
    anchor = None
    if plan.anchor is not None:
        anchor = manager.create_anchor(evolve(plan.anchor, image=tiny_image))
    try:
        for step in plan.steps:
            assert_same_inspect(here(step.container, tmp_path, tiny_image), manager)
    finally:
        if anchor is not None:
            manager.remove(anchor)
