"""Messages are reviewed like code: every bad recipe and bad request with exactly what the user is told.

A case has recipe.toml, request.toml or both, and expected.txt: the refusal with its exit code, or the warnings.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.adapters.recipes import read_text
from engine.cli.render import read_request
from engine.core.errors import EngineError
from engine.core.kinds import KINDS
from engine.core.lint import RULES, warnings
from engine.core.loader import load_recipe
from engine.core.render import render
from tests.golden.cases import HERE, ROOT, hold, recipes

ERRORS = HERE / "errors"
LEAST = 30
CASES = sorted(case for case in ERRORS.iterdir() if case.is_dir())


def told(case: Path) -> str:
    """What the user is told."""
    try:
        lines = _warned(case)
    except EngineError as error:
        lines = f"refused, exit {error.exit_code}:\n{error}\n"
    return lines.replace(f"{case}/", "").replace(f"{ROOT}/", "")


def _warned(case: Path) -> str:
    recipe = None
    if (case / "recipe.toml").exists():
        recipe = load_recipe(read_text(case / "recipe.toml"), "recipe.toml")
    if (case / "request.toml").exists():
        request = read_request(case / "request.toml")
        render(recipe or recipes().get(request.method), request.task, request.facts, where="recipe.toml")
        pytest.fail(f"{case.name}: nothing is wrong with it", pytrace=False)
    assert recipe is not None, f"{case} has no input"
    found = warnings(recipe, "recipe.toml")
    assert found, f"{case.name}: nothing is wrong with it"
    return "accepted with warnings:\n" + "".join(f"{warning}\n" for warning in found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_message(case: Path, request: pytest.FixtureRequest) -> None:
    hold(case / "expected.txt", told(case), update=request.config.getoption("--update-golden"))


def test_there_are_enough_cases_and_no_orphans() -> None:
    assert len(CASES) >= LEAST
    known = {"expected.txt", "recipe.toml", "request.toml"}
    for case in CASES:
        names = {entry.name for entry in case.iterdir()}
        assert "expected.txt" in names, f"{case} has no expected.txt"
        assert len(names) > 1, f"{case} has no input"
        assert names <= known, f"{case} has more than a case has: {sorted(names - known)}"


@pytest.mark.parametrize("code", RULES)
def test_every_warning_has_a_case(code: str) -> None:
    assert any(f"[{code}]\n" in (case / "expected.txt").read_text() for case in CASES), f"no case warns of {code}"


def test_every_message_names_a_place() -> None:
    for case in CASES:
        for line in (case / "expected.txt").read_text().splitlines()[1:]:
            assert ": " in line, f"{case.name}: {line}"


def test_kinds_are_all_checked_in_some_recipe_class() -> None:
    import attrs

    from engine.core import recipe

    used: set[str] = set()
    for cls in vars(recipe).values():
        if isinstance(cls, type) and attrs.has(cls):
            for field in attrs.fields(cls):
                used |= {field.metadata[key] for key in ("kind", "keys") if key in field.metadata}
    assert used == set(KINDS)
