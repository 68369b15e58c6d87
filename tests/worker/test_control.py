"""What an operator does with a worker: look, drain, reload, restart, try; and when it takes itself out."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner, Result

from engine.cli.render import render
from engine.cli.status import drain, status
from engine.cli.worker import worker as worker_command
from tests.hub import HubStandIn
from tests.podmanhost import podman
from tests.worker.conftest import AnyHub, StartWorker
from tests.worker.test_trouble import running, services_of
from tests.worker.workshop import WorkerProcess, wait_for

pytestmark = pytest.mark.podman


def shown(worker: WorkerProcess) -> dict[str, object]:
    """`engine status --format json`."""
    data: dict[str, object] = json.loads(ask(worker, "--format", "json").stdout)
    return {"reason": "", "problems": [], **data}


def ask(worker: WorkerProcess, *options: str) -> Result:
    return CliRunner().invoke(status, ["--config", str(worker.config), *options], standalone_mode=False)


@pytest.mark.any_hub
def test_status_says_what_it_does(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["long", 600])
    wait_for(lambda: "step 1 of 1: say" in ask(worker).stdout)
    result = ask(worker)
    assert result.return_value == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["state"] == "ready"
    assert lines["task"].startswith(f"{task} toy, ")
    assert lines["recipes"] == "toy"
    wait_for((hub.task_dir(task) / "say.log").exists)
    containers = [line for line in ask(worker, "--containers").stdout.splitlines() if line.startswith("container")]
    assert containers == [f"container {worker.containers()[0]} running, task {task}"]
    wait_for(lambda: "STATUS=ready; 1 task" in worker.listen())
    assert worker.terminate() == 0
    result = ask(worker)
    assert result.return_value == 4
    assert result.stdout.startswith("worker    not running (last seen ")


@pytest.mark.any_hub
def test_drain_and_undo(hub: AnyHub, worker: WorkerProcess) -> None:
    def order(*options: str) -> str:
        return CliRunner().invoke(drain, ["--config", str(worker.config), *options]).output

    task = hub.make_task("toy", ["short", 2])
    wait_for(lambda: hub.task(task)["state_name"] == "OPEN")
    order("--reason", "new disk", "--wait")
    assert hub.task(task)["state_name"] == "CLOSED"
    wait_for(lambda: shown(worker)["reason"] == "drained by the operator: new disk")
    later = hub.make_task("toy", ["later"])
    assert worker.terminate() == 0
    hub.forget_calls()
    worker.start()
    wait_for(lambda: len(hub.calls("host.updateHost")) > 2)  # it has had the chance to take it
    assert hub.task(later)["state_name"] in {"FREE", "ASSIGNED"}
    assert {call.args[1] for call in hub.calls("host.updateHost")} == {False}
    assert order("--undo") == "takes tasks again\n"
    assert hub.wait_task(later)["state_name"] == "CLOSED"


@pytest.mark.any_hub
def test_sighup_reads_recipes_again_and_keeps_a_working_one(
    hub: AnyHub, worker: WorkerProcess, toy_recipes: Path
) -> None:
    toy = (toy_recipes / "toy.toml").read_text()
    (toy_recipes / "other.toml").write_text(toy.replace('method = "toy"', 'method = "other"'))
    (toy_recipes / "toy.toml").write_text(toy.replace("weight", "weigth"))
    wait_for(lambda: hub.calls("host.updateHost"))
    worker.signal(signal.SIGHUP)
    wait_for(lambda: "other" in str(hub.calls("host.updateHost")[-1].kwargs["data"]["methods"]))
    wait_for(lambda: "unknown key 'weigth'" in str(shown(worker)["problems"]))
    assert "the one read before stays in use" in worker.log.read_text()
    tasks = [hub.make_task(method, ["x"]) for method in ("toy", "other")]
    assert [hub.wait_task(task)["state_name"] for task in tasks] == ["CLOSED", "CLOSED"]
    (toy_recipes / "other.toml").unlink()
    (toy_recipes / "toy.toml").write_text(toy)
    worker.signal(signal.SIGHUP)
    wait_for(lambda: "other" not in str(hub.calls("host.updateHost")[-1].kwargs.get("data")))
    wait_for(lambda: shown(worker)["problems"] == [])


@pytest.mark.any_hub
def test_sigusr1_finishes_and_starts_anew(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["long", 600])
    running(worker, hub, task)
    worker.signal(signal.SIGUSR1)
    wait_for(lambda: "restarting once 1 tasks have ended" in str(shown(worker)["reason"]))
    late = hub.make_task("toy", ["after"])
    worker.end_waiting()
    wait_for(lambda: sum("READY=1" in text for text in worker.listen()) == 2, 90, worker.log.read_text())
    assert hub.task(task)["state_name"] == "CLOSED"
    assert shown(worker)["pid"] == worker.pid
    assert len(hub.calls("exclusiveSession")) == 2
    assert hub.wait_task(late)["state_name"] == "CLOSED"
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_the_hubs_own_restart_task(hub: AnyHub, worker: WorkerProcess) -> None:
    host = hub.session().getHost(hub.builder)
    task = hub.make_task("restart", [host], assign=host["id"])
    assert hub.wait_task(task)["state_name"] == "CLOSED"
    assert hub.result(task) == "graceful restart initiated"
    wait_for(lambda: sum("READY=1" in text for text in worker.listen()) == 2, 90)


@pytest.mark.any_hub
def test_repeated_infrastructure_failures_take_it_out_until_a_self_check(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker()
    worker.settings["worker"] |= {"failures": 2, "pause": 10}
    worker.start()
    for text in ("one", "two"):
        task = hub.make_task("toy", [text, 0, 75])
        wait_for(lambda task=task: [call for call in hub.calls("host.refuseTask") if call.args[0] == task])
        hub.cancel(task)  # else it comes back after a while, and is one more
    reason = wait_for(lambda: next((said for said in [str(shown(worker)["reason"])] if "in a row" in said), ""))
    assert reason.startswith("2 infrastructure failures in a row, next self-check in ")
    assert "exit code 75" in reason
    assert ask(worker).return_value == 4
    good = hub.make_task("toy", ["good"])
    assert hub.wait_task(good)["state_name"] == "CLOSED"
    assert "self-check passed" in worker.log.read_text()
    assert len(ask(worker, "--format", "json").stdout) > 0


@pytest.mark.any_hub
def test_a_worker_that_cannot_work_does_not_start(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker(image="localhost/adjutant-test-no-such-image:1").start(ready=False)
    assert worker.wait() == 4
    assert "no-such-image" in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()
    assert hub.calls("login") == []
    assert not any("READY=1" in text for text in worker.listen())


@pytest.mark.any_hub
def test_a_full_disk_is_a_reason_not_to_be_ready(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker(minspace=10**9).start()
    wait_for(lambda: hub.calls("host.updateHost"))
    assert hub.calls("host.updateHost")[-1].args[1] is False
    wait_for(lambda: str(shown(worker)["reason"]).startswith("Insufficient disk space at "))


@pytest.mark.any_hub
def test_once_takes_one_task_and_ends(hub: AnyHub, make_worker: StartWorker) -> None:
    tasks = [hub.make_task("toy", [text, 1]) for text in ("first", "second")]
    worker = make_worker().start("--once")
    assert worker.wait() == 0
    assert [hub.task(task)["state_name"] == "CLOSED" for task in tasks] == [True, False]
    worker.assert_nothing_left()


def test_dry_run_takes_nothing(hub: HubStandIn, make_worker: StartWorker, tmp_path: Path) -> None:
    worker = make_worker()
    worker.start().terminate()
    toy, unknown = hub.make_task("toy", ["x"]), hub.make_task("unheardOf", [])
    wrong, own = hub.make_task("toy", ["1", 2, 3, 4]), hub.make_task("sleep", [1])
    hub.forget_calls()
    result = CliRunner().invoke(worker_command, ["--config", str(worker.config), "--dry-run"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "host builder1: enabled, arches x86_64, capacity 4.0"
    assert lines[1].startswith(f"task {toy} toy (noarch, FREE): would be taken: 1 steps (say), plan sha256:")
    assert lines[2:] == [
        f"task {unknown} unheardOf (noarch, FREE): refused: no recipe for this method",
        f"task {wrong} toy (noarch, FREE): ParameterError: toy takes 3 arguments, got 4",
        f"task {own} sleep (noarch, FREE): would be taken: koji's own task type",
    ]
    assert {call.who for call in hub.call_log} == {None}
    assert hub.task(toy)["state_name"] == "FREE"


@pytest.mark.any_hub
def test_dry_run_and_render_show_the_same_plan(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker()
    worker.settings["limits"] = {"pids": 77}
    worker.config.write_text(tomli_w.dumps(worker.settings))
    task = hub.make_task("toy", ["x"])
    shown = CliRunner().invoke(worker_command, ["--config", str(worker.config), "--dry-run"]).output
    options = ["--task", str(task), "--hub", hub.url, "--config", str(worker.config)]
    rendered = CliRunner().invoke(render, options, standalone_mode=False)  # recipes are those of the settings
    assert rendered.exception is None
    digest = rendered.stdout.splitlines()[1].removeprefix("# plan ")
    assert digest.startswith("sha256:")
    state = hub.task(task)["state_name"]
    assert f"task {task} toy (noarch, {state}): would be taken: 1 steps (say), plan {digest}" in shown
    assert "--pids-limit=77" in rendered.stdout


def test_dry_run_asks_for_the_host_check(hub: HubStandIn, make_worker: StartWorker) -> None:
    worker = make_worker(recipes=Path(__file__).parents[2] / "recipes")
    worker.config.write_text(tomli_w.dumps(worker.settings))
    hub.add_tag("other", "s390x")
    task = hub.make_task("buildArch", ["x.src.rpm", "other", "noarch", True, {"repo_id": 1}])
    shown = CliRunner().invoke(worker_command, ["--config", str(worker.config), "--dry-run"]).output
    assert f"task {task} buildArch (noarch, FREE): refused: failed host check" in shown


def test_a_hundred_short_tasks_at_capacity_four(hub: HubStandIn, worker: WorkerProcess) -> None:
    hub.host("builder1").capacity = 1.9  # tasks weigh 0.5, and one more is taken when not over
    tasks = [hub.make_task("toy", [f"text {number}"]) for number in range(100)]
    most = 0
    deadline = time.monotonic() + 240
    while hub.tasks(method="toy", state_name="CLOSED") != hub.tasks(method="toy"):
        assert time.monotonic() < deadline, worker.log.read_text()[-3000:]
        most = max(most, len(hub.tasks(state_name="OPEN")))
        time.sleep(0.05)
    assert most <= 4
    assert [hub.result(task)["text"] for task in tasks] == [f"text {number}" for number in range(100)]
    assert len(hub.calls("host.closeTask")) == 100
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_two_workers_on_one_host(hub: HubStandIn, make_worker: StartWorker) -> None:
    hub.add_host("builder2", arches="x86_64", capacity=4)
    workers = [make_worker(user).start() for user in ("builder1", "builder2")]
    for user in ("builder1", "builder2"):  # both are there to be given tasks
        wait_for(lambda user=user: hub.calls("host.updateHost", who=user))
    tasks = [hub.make_task("toy", [str(number), 1]) for number in range(8)]
    for task in tasks:
        assert hub.wait_task(task, 60)["state_name"] == "CLOSED"
    assert {hub.task(task)["host_id"] for task in tasks} == {1, 2}
    long = [hub.make_task("toy", ["long", 600], assign=host) for host in (1, 2)]
    for task in long:
        wait_for(lambda task=task: (hub.task_dir(task) / "say.log").exists())
    # One is killed and started anew: its leftovers go, the other's containers stay.
    workers[0].kill()
    (other,) = wait_for(lambda: (names := workers[1].containers()) and len(names) == 1 and names)
    workers[0].start("--force-lock")
    assert other in workers[1].containers()  # it may have been given the task of the killed one as well
    for worker in workers:
        worker.terminate()
        worker.assert_nothing_left()


@pytest.mark.any_hub
def test_an_outage_shows_while_the_call_is_tried_again(hub: AnyHub, make_worker: StartWorker) -> None:
    worker = make_worker(retry_interval=60).start()
    wait_for(lambda: "ready" in ask(worker).stdout)
    assert ask(worker).return_value == 0
    with hub.network_outage():
        wait_for(lambda: shown(worker)["reason"] == "the hub does not answer")
        assert shown(worker)["ready"] is False
        result = ask(worker)
        assert result.return_value == 4
        assert "the hub has not answered for " in result.stdout
        assert "not ready: the hub does not answer" in result.stdout
        assert "STATUS=the hub does not answer; 0 tasks" in worker.listen()


def silent_for(worker: WorkerProcess, seconds: int) -> tuple[int, str]:
    """Exit code and text of `engine status` at a moment when the last turn was `seconds` and a fraction ago."""
    place = worker.workdir / "worker" / "state.json"
    state = json.loads(place.read_text())
    for _attempt in range(100):  # a busy host may take a second from the writing to the answer
        turn = time.time() - seconds
        place.write_text(json.dumps({**state, "turn": turn}))
        result = ask(worker)
        if time.time() < turn + seconds + 1:
            return result.return_value, result.stdout
    raise AssertionError("`engine status` never answered within a second")


@pytest.mark.any_hub
def test_a_daemon_that_stands_still_is_not_ready(worker: WorkerProcess) -> None:
    wait_for(lambda: ask(worker).return_value == 0)
    worker.signal(signal.SIGSTOP)
    try:
        wait_for(lambda: Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        silent, _text = silent_for(worker, 61)
        assert silent == 0  # two turns of 1 s and a minute
        silent, text = silent_for(worker, 65)
        assert silent == 4
        assert "not ready: it has not asked the hub for tasks for 1 min 5 s" in text
    finally:
        worker.signal(signal.SIGCONT)


@pytest.mark.any_hub
def test_sigusr1_while_stored_roots_are_looked_after(hub: AnyHub, make_worker: StartWorker) -> None:
    hub.slow_answers(2, since="listBuildroots")
    worker = make_worker().start()
    services = services_of(worker)  # the first turn takes a while, and starts that at its end; podman hangs then
    assert services
    for pid in services:
        os.kill(pid, signal.SIGSTOP)
    hub.slow_answers(0)
    wait_for(lambda: len(worker.processes()) == 2, 60, worker.log.read_text())
    worker.signal(signal.SIGUSR1)
    wait_for(lambda: sum("READY=1" in text for text in worker.listen()) == 2, 90, worker.log.read_text())
    assert "another worker" not in worker.log.read_text()
    task = hub.make_task("toy", ["after"])
    assert hub.wait_task(task)["state_name"] == "CLOSED"
    assert worker.terminate() == 0
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_sigusr1_restarts_a_drained_worker(hub: AnyHub, worker: WorkerProcess) -> None:
    CliRunner().invoke(drain, ["--config", str(worker.config)])
    wait_for(lambda: "drained" in str(shown(worker)["reason"]))
    worker.signal(signal.SIGUSR1)
    wait_for(lambda: sum("READY=1" in text for text in worker.listen()) == 2, 90, worker.log.read_text())
    CliRunner().invoke(drain, ["--config", str(worker.config), "--undo"])


@pytest.mark.any_hub
@pytest.mark.parametrize("once_more", [False, True], ids=["SIGTERM", "SIGTERM twice"])
def test_sigterm_while_the_hub_hangs(hub: AnyHub, make_worker: StartWorker, once_more: bool) -> None:
    worker = make_worker(timeout=300).start()
    task = hub.make_task("toy", ["long", 600])
    wait_for((hub.task_dir(task) / "say.log").exists)
    hub.slow_answers(200)
    hub.forget_calls()
    wait_for(lambda: hub.calls(who=hub.builder))  # it is in a call by now
    began = time.monotonic()
    worker.signal(signal.SIGTERM)
    if once_more:
        time.sleep(0.5)
        worker.signal(signal.SIGTERM)
    try:
        # Patience with the hub, the end of the task's process, one last call of 10 s.
        assert worker.wait(120) == 0
    finally:
        hub.slow_answers(0)
    assert time.monotonic() - began < 100
    worker.assert_nothing_left()
    assert any("EXTEND_TIMEOUT_USEC=" in text for text in worker.listen())


@pytest.mark.any_hub
@pytest.mark.parametrize("seconds", [3, 8])
def test_sigterm_while_a_task_is_opened(hub: AnyHub, worker: WorkerProcess, seconds: float) -> None:
    hub.slow_answers(seconds, since="getTaskInfo")
    task = hub.make_task("toy", ["never"])
    wait_for(lambda: [call for call in hub.calls("getTaskInfo", who=hub.builder) if call.args[0] == task], 60)
    worker.signal(signal.SIGTERM)  # the patience with the hub ends before the task has a process
    time.sleep(6)
    hub.slow_answers(0)
    assert worker.wait(60) == 0, worker.log.read_text()
    assert hub.task(task)["state_name"] == "FREE"
    worker.assert_nothing_left()


@pytest.mark.any_hub
def test_an_end_that_takes_longer_than_the_patience_with_the_hub(
    hub: AnyHub, make_worker: StartWorker, tmp_path: Path
) -> None:
    """As on a host under load: the interpreter itself takes its time after the last word to the hub."""
    (tmp_path / "slow").mkdir()
    slow = (
        "import sys, time\nclass Slow:\n    def __del__(self, sleep=time.sleep):\n        sleep(6)\nsys.slow = Slow()\n"
    )
    (tmp_path / "slow" / "sitecustomize.py").write_text(slow)
    worker = make_worker()
    worker.environment["PYTHONPATH"] = f"{tmp_path / 'slow'}:{os.getcwd()}"
    worker.start()
    began = time.monotonic()
    assert worker.terminate() == 0
    assert time.monotonic() - began > 6
    worker.assert_nothing_left()


@pytest.fixture
def image_of_a_slow_check(toy_image: str) -> Iterator[str]:
    """The toy's image with a `true` that takes ten minutes, so that the self-check is found running."""
    image, container = f"{toy_image}-slow", f"adjutant-test-slow-{os.getpid()}"
    script = "rm /bin/true; printf '#!/bin/sh\\nexec sleep 600\\n' > /bin/true; busybox chmod 755 /bin/true"
    podman("run", "--network", "none", "--name", container, toy_image, "sh", "-c", script)
    podman("commit", "--quiet", container, image)
    podman("rm", container)
    yield image
    podman("rmi", "--force", image, check=False)


@pytest.mark.any_hub
def test_sigterm_before_it_is_ready(hub: AnyHub, make_worker: StartWorker, image_of_a_slow_check: str) -> None:
    worker = make_worker(image=image_of_a_slow_check).start(ready=False)
    wait_for(worker.containers)
    assert worker.terminate() == 0
    assert worker.containers() == [], worker.log.read_text()
    assert worker.processes() == []
    assert "Traceback" not in worker.log.read_text()
    assert not hub.calls("login")
