"""A hub that answers one call wrongly, or not with what was asked, and is well again."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import pytest
from koji.xmlrpcplus import Fault

from tests.hub import HubStandIn
from tests.worker.conftest import StartWorker
from tests.worker.workshop import fault_of

DATABASE = Fault(1, "<class 'psycopg2.OperationalError'>: server closed the connection unexpectedly")
RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.mark.podman
@pytest.mark.parametrize("answer", [DATABASE, HTTPStatus.BAD_GATEWAY], ids=["fault", "no answer"])
def test_a_host_check_that_cannot_be_made_refuses_nothing(
    hub: HubStandIn, make_worker: StartWorker, tmp_path: Path, answer: object
) -> None:
    """A hard refusal lasts as long as the task, and where every host refused it waits for ever (contract trap 25)."""
    make_worker(recipes=RECIPES, max_retries=0).start()
    hub.add_tag("f45-build", "x86_64")
    repo = hub.add_repo("f45-build", tmp_path / "recipes")
    hub.answer_instead("getBuildConfig", answer)
    request = ["cli-build/1/x-1-1.src.rpm", "f45-build", "x86_64", True, {"repo_id": repo}]
    task = hub.make_task("buildArch", request, arch="x86_64")
    assert hub.wait_task(task)["state_name"] == "FAILED"
    assert "No such file on the hub" in fault_of(hub, task)[1]
    assert hub.calls("host.refuseTask") == []
