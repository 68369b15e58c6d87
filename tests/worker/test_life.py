"""A task's whole life: taken, logged, uploaded, closed, failed, refused; and what the hub saw of it."""

from __future__ import annotations

import re
from pathlib import Path

import koji
import pytest

from tests.worker.conftest import AnyHub, StartWorker
from tests.worker.workshop import WorkerProcess, fault_of, wait_for

pytestmark = [pytest.mark.podman, pytest.mark.any_hub]


def test_a_task_is_taken_run_and_closed(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["hello"])
    assert hub.wait_task(task)["state_name"] == "CLOSED", worker.log.read_text()
    assert hub.result(task) == {
        "text": "hello",
        "files": [f"{koji.pathinfo.taskrelpath(task)}/said.txt"],
        "logs": ["adjutant_plan.log", "say.log"],
    }
    assert hub.task(task)["weight"] == 0.5
    assert (hub.task_dir(task) / "said.txt").read_text() == "hello"
    assert (hub.task_dir(task) / "say.log").read_text() == "said hello\n"
    plan = (hub.task_dir(task) / "adjutant_plan.log").read_text()
    assert "podman run" in plan
    image = worker.settings["adjutant_task_image_default"]
    assert f"# task image {image}: adjutant_task_image_default\n" in plan
    assert re.search(rf"^# image {re.escape(image)} = [0-9a-f]{{64}} sha256:[0-9a-f]{{64}}$", plan, re.M), plan
    assert worker.terminate() == 0
    worker.assert_nothing_left()


def test_a_failing_step_fails_the_task_with_its_words(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["bad", 0, 7])
    assert hub.wait_task(task)["state_name"] == "FAILED"
    words = "toy failed: exit code 7; see say.log for more information"
    assert fault_of(hub, task) == (koji.BuildError.faultCode, words)
    assert (hub.task_dir(task) / "say.log").read_text() == "said bad\n"
    wait_for(lambda: not worker.workspaces())
    assert worker.containers() == []


def test_an_infrastructure_failure_is_refused_softly(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", ["x", 0, 75])
    call = wait_for(lambda: hub.calls("host.refuseTask"))[0]
    assert call.args[0] == task
    assert call.kwargs.get("soft", True) is True
    assert "75" in call.kwargs["msg"]
    assert hub.task(task)["state_name"] in {"FREE", "ASSIGNED"}
    (noted,) = hub.session().scheduler.getTaskRefusals([["task_id", "=", task]])
    assert (noted["soft"], noted["msg"]) == (True, call.kwargs["msg"])


def test_two_tasks_at_once(hub: AnyHub, worker: WorkerProcess) -> None:
    tasks = [hub.make_task("toy", [text, 600]) for text in ("one", "two")]
    for task in tasks:
        wait_for((hub.task_dir(task) / "say.log").exists)
    assert len(worker.containers()) == 2
    worker.end_waiting()
    assert [hub.wait_task(task)["state_name"] for task in tasks] == ["CLOSED", "CLOSED"]
    assert [hub.result(task)["text"] for task in tasks] == ["one", "two"]
    assert [(hub.task_dir(task) / "say.log").read_text() for task in tasks] == ["said one\n", "said two\n"]


def test_a_method_without_recipe_is_refused_hard(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("unheardOf", [])
    call = wait_for(lambda: hub.calls("host.refuseTask"))[0]
    assert (call.args[0], call.kwargs) == (task, {"soft": False, "msg": "no handler for method"})


def test_wrong_arguments_fail_as_parameter_error(hub: AnyHub, worker: WorkerProcess) -> None:
    task = hub.make_task("toy", [["not", "text"]])
    assert hub.wait_task(task)["state_name"] == "FAILED"
    code, text = fault_of(hub, task)
    assert code == koji.ParameterError.faultCode
    assert "params.text: must be a string, got array" in text


def test_the_hub_sees_the_calls_of_a_kojid(hub: AnyHub, worker: WorkerProcess) -> None:
    wait_for(lambda: len(hub.calls("host.getTasks")) > 1)
    mine = [call.method for call in hub.call_log if call.who == hub.builder]
    assert mine[:7] == ["exclusiveSession", "echo", "host.getID", "getSessionInfo", "listBuildroots",
                        "host.getHostTasks", "host.getHost"]  # fmt: skip
    update = hub.calls("host.updateHost")[-1]
    assert update.args == (0.0, True)
    assert {"toy", "restart", "waitrepo"} <= set(update.kwargs["data"]["methods"])
    hub.forget_calls()
    task = hub.make_task("toy", ["x"])
    hub.wait_task(task)
    mine = [call.method for call in hub.call_log if call.who == hub.builder and call.args[:1] == (task,)]
    assert mine[:3] == ["getTaskInfo", "host.openTask", "host.setTaskWeight"]
    assert set(mine[3:]) <= {"getTaskInfo"}  # of a turn that finds it closed and its process ending
    child = [call.method for call in hub.call_log if call.who == f"{hub.builder}/sub"]
    assert child[0] == "getTaskInfo"
    assert set(child[1:]) >= {"rawUpload", "checkUpload", "host.closeTask"}
    wait_for(lambda: hub.calls("logoutChild"))


def test_a_repo_that_is_no_number_fails_as_parameter_error(
    hub: AnyHub, make_worker: StartWorker, toy_recipes: Path
) -> None:
    recipe = toy_recipes / "toy.toml"
    recipe.write_text(recipe.read_text().replace("weight = 0.5", 'weight = 0.5\n[facts]\nrepo = "{{ params.text }}"'))
    make_worker().start()
    task = hub.make_task("toy", ["abc"])
    assert hub.wait_task(task)["state_name"] == "FAILED"
    assert fault_of(hub, task) == (koji.ParameterError.faultCode, "Invalid repo id: 'abc'")
