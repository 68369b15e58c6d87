"""The names that the loader knows are the names that the render gives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.core.errors import BadInput
from engine.core.facts import (
    BuildrootFacts,
    ExternalRepo,
    Facts,
    NameValue,
    PackageRepo,
    ProbeAnswer,
    RepoFacts,
    TagFacts,
    TaskRequest,
)
from engine.core.loader import load_recipe
from engine.core.render import render
from engine.core.variables import listed, scope

HEAD = """
recipe = 1
method = "toy"
params = [{ name = "x", type = "str" }, { name = "y", type = "dict" }]

[facts]
repo           = "1"
old_repo       = "2"
build_tag      = "3"
external_repos = true

[[probes]]
name = "there"
path = "/srv/there"

[[inputs]]
name   = "file"
source = "a/b.txt"

[[inputs]]
name   = "tree"
kind   = "tree"
source = "/srv/tree"
target = "/tree"

[buildroot]
mode = "image"
"""
FACTS = Facts(
    repo=RepoFacts(),
    old_repo=RepoFacts(),
    build_tag=TagFacts(),
    external_repos=(ExternalRepo(name="e", url="http://e"),),
    repos=(PackageRepo(name="r", url="http://r"),),
    macros=(NameValue(name="m", value="1"),),
    env=(NameValue(name="E", value="1"),),
    probes={"there": ProbeAnswer(exists=True)},
    buildroot=BuildrootFacts(id=1),
)


def _argv(words: list[str]) -> tuple[str, ...]:
    recipe = load_recipe(HEAD + "\n[[steps]]\nname = 'work'\nargv = " + json.dumps(["echo", *words]), "toy.toml")
    request = TaskRequest(method="toy", params={"x": "1", "y": {}})
    return render(recipe, request, FACTS).steps[0].container.argv[1:]


def _known() -> Any:
    return scope(load_recipe(HEAD + "\n[[steps]]\nname = 'work'\nargv = ['true']", "toy.toml"))


def test_every_known_name_exists_in_the_render() -> None:
    names = [name.replace("[]", "[0]") for name, _type, _summary in listed(_known())]
    # Lists of the settings may be empty here and have no element to ask for.
    names = [name for name in names if not (name.startswith("settings.") and "[0]" in name)]
    assert len(names) > 60
    answers = _argv([f"{{{{ {name} is defined }}}}" for name in names])
    assert [name for name, answer in zip(names, answers, strict=True) if answer != "True"] == []


def test_every_name_of_the_render_is_known() -> None:
    known = _known()
    for root, variable in known.items():
        if variable.type != "table" or variable.free:
            continue
        (given,) = _argv([f"{{{{ {root} | tojson }}}}"])
        assert set(json.loads(given)) == set(variable.members), root


def test_every_name_has_a_type_in_words() -> None:
    for name, kind, _summary in listed(_known()):
        assert kind, name
    tops = [variable for variable in _known().values()]
    assert all(variable.summary for variable in tops)


@pytest.mark.parametrize(
    "name", ["nonsense", "task.params", "settings.password", "repo.nonsense", "inputs.tree_target"]
)
def test_a_name_that_is_not_there_is_refused_at_load(name: str) -> None:
    with pytest.raises(BadInput, match=f"unknown variable '{name}'"):
        _argv([f"{{{{ {name} }}}}"])
