"""The words of a build that failed: kojid's, by how it ended (contract appendix G)."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.adapters.recipes import read_recipe
from engine.cli.render import read_request
from engine.core.closing import RecipeClosing
from engine.core.manager import Outcome
from engine.core.render import closing_variables, render
from engine.core.verdict import step_cause, step_failure

TESTS = Path(__file__).parents[1]


def words(step_name: str, outcome: Outcome) -> str:
    """The fault text of the shipped recipe's step."""
    recipe = read_recipe(TESTS.parent / "recipes" / "buildArch.toml")
    request = read_request(TESTS / "golden" / "buildArch" / "x86_64" / "request.toml")
    plan = render(recipe, request.task, request.facts)
    step = next(step for step in plan.steps if step.name == step_name)
    cause = step_cause(step, outcome) or ""
    closing = RecipeClosing(recipe, closing_variables(recipe, request.task, request.facts), plan.recipe)
    return step_failure(step, outcome, cause=cause, message=closing.fault_text(step, outcome, cause)).message


@pytest.mark.parametrize(
    ("step", "outcome", "text"),
    [
        ("build", Outcome(exit_code=1), "exited with status 1; see build.log or root.log for more information"),
        ("build", Outcome(exit_code=10), "exited with status 10; see build.log for more information"),
        ("build", Outcome(exit_code=2), "exited with status 2; see root.log for more information"),
        ("build", Outcome(exit_code=137, signal=9), "was killed by signal 9; see root.log for more information"),
        ("builddep", Outcome(exit_code=30), "exited with status 30; see root.log for more information"),
        ("builddep", Outcome(exit_code=143, signal=15), "was killed by signal 15; see root.log for more information"),
    ],
)
def test_the_words_are_kojids(step: str, outcome: Outcome, text: str) -> None:
    assert words(step, outcome) == f"error building package (arch x86_64), mock {text}"


def test_what_kojid_would_not_know_is_added() -> None:
    text = words("build", Outcome(exit_code=137, signal=9, oom=True))
    assert text.startswith("error building package (arch x86_64), mock was killed by signal 9; see root.log for more ")
    assert "(out of memory (" in text
