"""Edges of a worker's life: what happens to meet at the wrong moment."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import koji
import pytest

from tests.hub import HubStandIn
from tests.podmanhost import podman
from tests.worker.conftest import StartWorker
from tests.worker.test_control import shown
from tests.worker.test_operator import engine
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
    assert hub.wait_task(task, timeout=60)["state_name"] == "FAILED"
    code, text = fault_of(hub, task)
    assert code == koji.GenericError.faultCode
    assert "No such tagInfo: 'no-such-tag'" in text


def test_an_answer_to_the_logout_is_lost_before_starting_anew(hub: HubStandIn, worker: WorkerProcess) -> None:
    hub.lose_answers("logout")
    worker.notified.clear()
    worker.signal(signal.SIGUSR1)
    wait_for(worker.is_ready, 60, "it did not start anew")
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
    wait_for(lambda: shown(worker)["ready"] is True, 60, "taking the recipe out is no cure")


def test_a_recipe_named_like_a_task_of_kojis_own_wins_and_says_so(
    hub: HubStandIn, make_worker: StartWorker, toy_recipes: Path
) -> None:
    toy = (toy_recipes / "toy.toml").read_text()
    (toy_recipes / "sleep.toml").write_text(toy.replace('method = "toy"', 'method = "sleep"'))
    worker = make_worker().start()
    assert hub.wait_task(hub.make_task("sleep", ["wins"]))["state_name"] == "CLOSED"
    assert worker.log.read_text().count("the recipe sleep takes the place of koji's own task") == 1


def test_settings_are_complained_of_before_images_are_pulled(make_worker: StartWorker) -> None:
    worker = make_worker(image="registry.invalid/not/there:1", cert="/not/there.pem")
    began = time.monotonic()
    assert worker.start(ready=False).wait(60) == 3
    assert "settings: hub.cert: /not/there.pem is no file (put the certificate there" in worker.log.read_text()
    assert time.monotonic() - began < 30


def test_a_user_that_is_no_host_is_told_and_leaves_no_session(hub: HubStandIn, make_worker: StartWorker) -> None:
    hub.add_user("person", "person")
    worker = make_worker(user="person")
    for _start in (1, 2):  # the second one is not refused because of the first one's session
        assert worker.start(ready=False).wait(60) == 4
        said = worker.log.read_text().splitlines()[-1]
        assert said.startswith(f"hub {hub.url}: User ")
        assert said.endswith("is not a host (koji add-host NAME ARCHES makes one, with the worker's user as its name)")


@pytest.mark.parametrize("answer", [b"<html><body>maintenance</body></html>", b"no <b>xml", b"\xff\xfe\x00"])
def test_an_address_that_is_no_hubs(make_worker: StartWorker, answer: bytes) -> None:
    with answering(answer) as address:
        worker = make_worker(server=address)
        assert worker.start(ready=False).wait(60) == 4
        words = f"hub {address}: cannot log in: what answers there speaks no XML-RPC (is it a hub's address"
        assert words in worker.log.read_text()
        code, said = engine("worker", "--dry-run", "--config", worker.config)
        assert (code, "what answers there speaks no XML-RPC" in said) == (4, True)
        code, said = engine("render", "--task", "1", "--hub", address)
        assert (code, "what answers there speaks no XML-RPC" in said) == (4, True)


def test_a_hub_that_is_away_is_told_in_the_systems_words(make_worker: StartWorker) -> None:
    address = "http://127.0.0.1:9/kojihub"
    worker = make_worker(server=address)
    assert worker.start(ready=False).wait(60) == 4
    log = worker.log.read_text()
    assert f"hub {address}: cannot log in: [Errno 111] Connection refused" in log
    assert "the hub does not answer: [Errno 111] Connection refused" in log
    code, said = engine("worker", "--dry-run", "--config", worker.config)
    assert (code, said) == (4, f"hub {address}: [Errno 111] Connection refused\n")


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Address of a web server that has one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing to the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/kojihub"
        server.shutdown()


def test_a_recipe_broken_from_the_start_is_not_among_those_served(
    make_worker: StartWorker, toy_recipes: Path, hub: HubStandIn
) -> None:
    (toy_recipes / "bad.toml").write_text("recipe = 1\n")
    worker = make_worker().start()
    wait_for(lambda: shown(worker).get("ready") is True)
    assert list(shown(worker)["recipes"]) == ["toy"]  # type: ignore[call-overload]
    assert "bad.toml" in str(shown(worker)["problems"])
    (toy_recipes / "toy.toml").unlink()
    worker.signal(signal.SIGHUP)
    wait_for(lambda: "read recipes again: none is left" in worker.log.read_text())
    wait_for(lambda: "toy" not in hub.calls("host.updateHost")[-1].kwargs["data"]["methods"])
