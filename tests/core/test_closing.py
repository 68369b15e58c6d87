"""A recipe's last words."""

from __future__ import annotations

import pytest

from engine.core.closing import RecipeClosing
from engine.core.facts import Facts, TaskRequest
from engine.core.manager import Outcome
from engine.core.recipe import Param, Recipe, Step
from engine.core.render import closing_variables, render


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (None, ""),
        ("{{ params.what }} broke with {{ exit.code }}, see {{ log }}", "it broke with 3, see one.log"),
        (
            "{{ params.what[0].x }} broke",
            "step one: exit code 3; see one.log for more information"
            " (its message: 'x' does not exist: only tables have named members)",
        ),
    ],
)
def test_the_message_of_a_step(message: str | None, words: str) -> None:
    step = Step(name="one", argv=("true",), message=message)
    recipe = Recipe(recipe=1, method="toy", params=(Param(name="what", type="any"),), steps=(step,))
    request = TaskRequest(method="toy", params={"what": "it"})
    [planned] = render(recipe, request, Facts()).steps
    closing = RecipeClosing(recipe, closing_variables(recipe, request, Facts()), "toy.toml")
    assert closing.fault_text(planned, Outcome(exit_code=3), "exit code 3") == words
