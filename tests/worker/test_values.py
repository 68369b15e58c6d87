"""Tasks whose values cannot be used: they fail, and no number of them takes a worker out."""

from __future__ import annotations

from pathlib import Path

import koji
import pytest

from engine.adapters.recipes import RecipeDirectory
from engine.core.errors import BadInput
from engine.core.facts import BuildrootFacts, Facts, TaskRequest
from engine.core.render import render
from tests.hub import HubStandIn
from tests.worker.conftest import StartWorker
from tests.worker.test_control import shown
from tests.worker.workshop import fault_of, wait_for


@pytest.mark.podman
def test_values_that_cannot_be_arguments_fail_and_take_no_worker_out(hub: HubStandIn, make_worker: StartWorker) -> None:
    worker = make_worker()
    worker.settings["worker"] |= {"failures": 2, "pause": 600}
    worker.start()
    found = {
        "a\nb": "a value has a NUL, newline or carriage return",
        "-x": "the value '-x' would be read as an option",
        "x" * 200_000: "a value is 200000 characters long",
    }
    for value, words in found.items():
        task = hub.make_task("toy", [value])
        assert hub.wait_task(task)["state_name"] == "FAILED"
        code, text = fault_of(hub, task)
        assert code == koji.ParameterError.faultCode
        assert text.startswith(f"recipes/toy.toml: steps[0].argv[2]: {words}")
    assert shown(worker)["ready"] is True


@pytest.mark.podman
def test_a_recipe_that_does_not_fit_takes_no_worker_out(
    hub: HubStandIn, make_worker: StartWorker, toy_recipes: Path
) -> None:
    toy = toy_recipes / "toy.toml"
    mount = '[[container.mounts]]\nsource = "/srv/elsewhere"\ntarget = "/work/elsewhere"\n\n'
    toy.write_text(toy.read_text().replace("[[steps]]", mount + "[[steps]]"))
    worker = make_worker()
    worker.settings["worker"] |= {"failures": 2, "pause": 600}
    worker.start()
    tasks = [hub.make_task("toy", ["x"]) for _ in range(3)]
    wait_for(lambda: {failure["task"] for failure in shown(worker).get("failures", [])} == set(tasks))
    assert shown(worker)["ready"] is True
    assert {hub.task(task)["state_name"] for task in tasks} <= {"FREE", "ASSIGNED", "OPEN"}


@pytest.mark.parametrize("name", ["a b.src.rpm", "é.src.rpm", ".x.src.rpm"])
def test_a_packages_file_name_is_the_tasks_fault(name: str) -> None:
    params = {"pkg": f"cli-build/1/{name}", "root": "f45-build", "arch": "x86_64", "keep_srpm": True}
    recipe = RecipeDirectory([Path("recipes")]).get("buildArch")
    request = TaskRequest(method="buildArch", params={**params, "opts": {"repo_id": 1}}, task_id=1)
    with pytest.raises(BadInput) as caught:
        render(recipe, request, Facts(buildroot=BuildrootFacts(arch="x86_64")))
    assert [problem.of_task for problem in caught.value.problems if "file name" in problem.message] == [True]
