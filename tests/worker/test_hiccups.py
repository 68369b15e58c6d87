"""A hub that answers one call wrongly, or not with what was asked, and is well again."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import koji
import pytest
from koji.xmlrpcplus import Fault

from tests.hub import HubStandIn
from tests.worker.conftest import StartWorker
from tests.worker.test_trouble import ends_of, running
from tests.worker.workshop import WorkerProcess, fault_of, wait_for

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


WRONG = {"size": 1, "hexdigest": "00000000", "offset": 0, "fileverify": "adler32"}
FULL = Fault(1, "<class 'OSError'>: [Errno 28] No space left on device")
LOCKED = Fault(koji.LockError.faultCode, "another upload of this file is under way")


@pytest.mark.podman
@pytest.mark.parametrize("answer", [WRONG, FULL, LOCKED], ids=["wrong digest", "disk full", "locked"])
def test_a_file_that_did_not_arrive_is_sent_again(hub: HubStandIn, worker: WorkerProcess, answer: object) -> None:
    task = hub.make_task("toy", ["x", 600])
    running(worker, hub, task)  # its log is there: what comes next is the file
    hub.answer_instead("rawUpload", answer, 2)
    worker.end_waiting()
    assert hub.wait_task(task)["state_name"] == "CLOSED"
    assert (hub.task_dir(task) / "said.txt").read_text() == "x"


@pytest.mark.podman
def test_a_file_that_never_arrives_is_not_the_packages_fault(hub: HubStandIn, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["x", 600])
    running(worker, hub, task)
    hub.answer_instead("rawUpload", FULL, 4)
    worker.end_waiting()
    wait_for(lambda: ends_of(hub, task))
    assert ends_of(hub, task) == ["host.refuseTask"]
    (refusal,) = hub.calls("host.refuseTask")
    assert refusal.kwargs["msg"].startswith("said.txt could not be uploaded, 4 times: ")
