"""The golden cases: where they are, how one is rendered, and comparing with what is committed."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from engine.adapters.recipes import RecipeDirectory
from engine.cli.render import read_request
from engine.core.errors import EngineError
from engine.core.plan import Plan
from engine.core.plan_text import plan_text
from engine.core.render import render

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RECIPE_DIRECTORIES = (ROOT / "recipes", HERE / "recipes")
NOT_CASES = {"recipes", "errors", "__pycache__"}
FIX = "if the change is meant: make golden, read the diff, commit it with its reason"


def recipes() -> RecipeDirectory:
    return RecipeDirectory(RECIPE_DIRECTORIES)


def cases() -> list[Path]:
    """Every case directory ``<recipe>/<case>/``."""
    return sorted(
        case
        for recipe in HERE.iterdir()
        if recipe.is_dir() and recipe.name not in NOT_CASES
        for case in recipe.iterdir()
        if case.is_dir() and case.name != "__pycache__"
    )


def case_id(case: Path) -> str:
    return str(case.relative_to(HERE))


def plan_of(case: Path) -> Plan:
    """The plan of a case. Nothing outside the case directory and the recipes is looked at."""
    request = read_request(case / "request.toml")
    method = case.parent.name
    return render(recipes().get(method), request.task, request.facts, where=f"recipes/{method}.toml")


def rendered(case: Path) -> str:
    """What `expected.txt` must hold: the plan, or the refusal with its exit code."""
    try:
        return without_digest(plan_text(plan_of(case)))
    except EngineError as error:
        text = str(error).replace(f"{ROOT}/", "").replace(f"{case}/", "")
        return f"refused, exit {error.exit_code}:\n{text}\n"


def without_digest(text: str) -> str:
    """The text with its digest masked: a new field of the plan changes every digest and nothing else."""
    return re.sub(r"sha256:[0-9a-f]{64}$", "sha256:…", text, count=1, flags=re.M)


def hold(expected: Path, text: str, *, update: bool) -> None:
    """Compare with the committed file, or rewrite it."""
    if update:
        expected.write_text(text)
        return
    if not expected.exists():
        pytest.fail(f"{expected.relative_to(ROOT)} is missing ({FIX})", pytrace=False)
    committed = expected.read_text()
    if committed != text:
        name = str(expected.relative_to(ROOT))
        diff = difflib.unified_diff(
            committed.splitlines(keepends=True), text.splitlines(keepends=True), name, f"{name} as rendered now"
        )
        pytest.fail("".join(diff) + f"\n({FIX})", pytrace=False)
