"""What lies in a task's ``in/`` has a place of its own: nothing that a task names replaces what a recipe wrote."""

from __future__ import annotations

import pytest

from engine.core.errors import BadInput
from engine.core.facts import Facts, RenderRequest, Settings, TaskRequest
from engine.core.loader import load_recipe
from engine.core.plan import Plan
from engine.core.render import render
from engine.core.structure import structure

HEAD = 'recipe = 1\nmethod = "toy"\nparams = [{ name = "file" }, { name = "other" }]\n'
STEP = '[[steps]]\nname = "work"\nargv = ["true"]\n'
INPUTS = "".join(f'[[inputs]]\nname = "{name}"\nsource = "{{{{ params.{name} }}}}"\n' for name in ("file", "other"))


def plan(text: str, file: str = "a/x.rpm", other: str = "b/y.rpm") -> Plan:
    recipe = load_recipe(HEAD + text + ("" if "steps" in text else STEP), "toy.toml")
    return render(recipe, TaskRequest(method="toy", params={"file": file, "other": other}), Facts(), where="toy.toml")


def test_places_of_their_own() -> None:
    made = plan(INPUTS + '[[files]]\npath = "sub/run.sh"\ncontent = ""\n[[files]]\npath = "sub/x.rpm"\ncontent = ""\n')
    assert [item.path for item in made.inputs] == ["in/x.rpm", "in/y.rpm"]


@pytest.mark.parametrize("path", ["run.sh", "run.sh/x", "run.sh/"])
def test_an_input_takes_no_files_place(path: str) -> None:
    text = INPUTS + f'[[files]]\npath = "{path}"\ncontent = "echo the recipe\'s"\n'
    with pytest.raises(
        BadInput, match=r"inputs\[0\].source: in/run.sh would take the place of the recipe's file run.sh"
    ) as caught:
        plan(text, file="tasks/1/run.sh")
    assert all(problem.of_task for problem in caught.value.problems)


def test_two_inputs_of_one_name() -> None:
    with pytest.raises(BadInput, match=r"inputs\[1\].source: in/x.rpm would take the place of the input file"):
        plan(INPUTS, file="a/x.rpm", other="b/x.rpm")


@pytest.mark.parametrize(("first", "second"), [("a", "a/b"), ("a/b", "a")])
def test_a_file_below_a_file(first: str, second: str) -> None:
    files = "".join(f'[[files]]\npath = "{path}"\ncontent = ""\n' for path in (first, second))
    with pytest.raises(BadInput, match=f"files: in/{second} and the recipe's file {first} cannot both be there"):
        plan(files)


def test_a_file_written_twice() -> None:
    files = "".join(f'[[files]]\npath = "{path}"\ncontent = ""\n' for path in ("a", "a/"))
    with pytest.raises(BadInput, match="'a' is written twice"):
        plan(files)


@pytest.mark.parametrize(
    "step",
    [
        'tmpfs = [{ target = "/x" }]\n[[steps.mounts]]\nsource = "{{ workspace.host }}/result"\n'
        'target = "/x"\nwhen = "true"\n',
        'caps = "install"\ntarget = true\ntmpfs = [{ target = "/target/" }]\n',
    ],
)
def test_a_memory_file_system_where_something_is_mounted(step: str) -> None:
    with pytest.raises(BadInput, match=r"steps\[0\].mounts: /(x|target) is mounted twice"):
        plan("[buildroot]\n" + STEP + step)


@pytest.mark.parametrize("source", ["/mnt/koji", "/mnt/koji/adjutant", "/mnt/koji/adjutant/9/result"])
def test_no_task_sees_anothers_files(source: str) -> None:
    recipe = load_recipe(HEAD + STEP + f'[[steps.mounts]]\nsource = "{source}"\ntarget = "/x"\n', "toy.toml")
    request = TaskRequest(method="toy", params={"file": "x", "other": "y"})
    with pytest.raises(BadInput, match=r"steps\[0\].mounts\[0\]: .* overlaps the work directory"):
        render(recipe, request, Facts(settings=Settings(workdir="/mnt/koji/adjutant")), where="toy.toml")


@pytest.mark.parametrize("host", [{"own_ids": -5}, {"own_ids": 5, "own_pids": -1}])
def test_no_request_lifts_the_limit_on_processes(host: dict[str, int]) -> None:
    with pytest.raises(BadInput, match="must be at least 0"):
        structure({"method": "toy", "facts": {"host": host}}, RenderRequest, "request")
