"""Edges of a worker's life: what happens to meet at the wrong moment."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import koji
import pytest

from tests.hub import HubStandIn
from tests.podmanhost import podman
from tests.worker.conftest import StartWorker
from tests.worker.test_control import shown
from tests.worker.workshop import WorkerProcess, fault_of, wait_for

pytestmark = pytest.mark.podman
RECIPES = Path(__file__).parents[2] / "recipes"


def test_a_build_for_a_tag_that_is_gone_fails_with_the_hubs_words(
    hub: HubStandIn, make_worker: StartWorker, tmp_path: Path
) -> None:
    """Refused by the host check, it would wait for ever: every host answers alike."""
    make_worker(recipes=RECIPES).start()
    hub.add_tag("f45-build", "x86_64")
    repo = hub.add_repo("f45-build", tmp_path / "recipes")
    request = ["cli-build/1/x-1-1.src.rpm", "no-such-tag", "x86_64", True, {"repo_id": repo}]
    task = hub.make_task("buildArch", request, arch="x86_64")
    assert hub.wait_task(task, timeout=30)["state_name"] == "FAILED"
    code, text = fault_of(hub, task)
    assert code == koji.GenericError.faultCode
    assert "No such tagInfo: 'no-such-tag'" in text


def test_an_answer_to_the_logout_is_lost_before_starting_anew(hub: HubStandIn, worker: WorkerProcess) -> None:
    hub.lose_answers("logout")
    worker.notified.clear()
    worker.signal(signal.SIGUSR1)
    wait_for(worker.is_ready, 30, "it did not start anew")
    assert "could not log out before starting anew" in worker.log.read_text()
    assert hub.wait_task(hub.make_task("toy", ["again"]))["state_name"] == "CLOSED"


def test_once_gives_its_task_the_time_of_any_other_after_sigterm(hub: HubStandIn, make_worker: StartWorker) -> None:
    worker = make_worker()
    worker.settings["worker"]["shutdown_timeout"] = 60
    worker.start("--once")
    task = hub.make_task("toy", ["nearly done", 4])
    wait_for((hub.task_dir(task) / "say.log").exists)
    assert worker.terminate() == 0
    assert hub.task(task)["state_name"] == "CLOSED"


def test_the_self_check_looks_at_the_images_of_the_recipes_read_last(
    hub: HubStandIn, make_worker: StartWorker, toy_recipes: Path, toy_image: str
) -> None:
    image = f"{toy_image}-other"
    podman("tag", toy_image, image)
    toy = (toy_recipes / "toy.toml").read_text().replace('method = "toy"', 'method = "other"')
    (toy_recipes / "other.toml").write_text(toy.replace("[container]", f'[container]\nimage = "{image}"'))
    worker = make_worker()
    worker.settings["worker"] |= {"failures": 1, "pause": 600}
    worker.start()
    podman("untag", toy_image, image)
    task = hub.make_task("other", ["its image is gone"])
    wait_for(lambda: "in a row" in str(shown(worker)["reason"]))
    hub.cancel(task)
    (toy_recipes / "other.toml").unlink()
    worker.signal(signal.SIGHUP)
    wait_for(lambda: shown(worker)["ready"] is True, 30, "taking the recipe out is no cure")


def test_settings_are_complained_of_before_images_are_pulled(make_worker: StartWorker) -> None:
    worker = make_worker(image="registry.invalid/not/there:1", cert="/not/there.pem")
    began = time.monotonic()
    assert worker.start(ready=False).wait(60) == 3
    assert "settings: hub.cert: /not/there.pem is no file (put the certificate there" in worker.log.read_text()
    assert time.monotonic() - began < 30
