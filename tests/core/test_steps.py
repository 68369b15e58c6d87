"""What a step's values become: each is right or a problem with its place."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.errors import BadInput
from engine.core.facts import Facts, TaskRequest
from engine.core.loader import load_recipe
from engine.core.render import render

RECIPE = load_recipe(
    """
recipe = 1
method = "toy"
params = [{ name = "seconds" }]
[[steps]]
name = "work"
argv = ["true"]
timeout = "{{ params.seconds }}"
""",
    "toy.toml",
)


def timeout(seconds: Any) -> int:
    request = TaskRequest(method="toy", params={"seconds": seconds})
    return render(RECIPE, request, Facts(), where="toy.toml").steps[0].timeout


@pytest.mark.parametrize(("given", "seconds"), [(60, 60), ("60", 60), ("0", 86400)])
def test_timeouts(given: Any, seconds: int) -> None:
    assert timeout(given) == seconds


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("\u00b2", "must be a number of seconds, got '\u00b2'"),
        ("\u0663", "must be a number of seconds, got '\u0663'"),
        ("9" * 5000, "must be a number of seconds, got '999999"),
        (1800.0, "must be a number of seconds, got 1800.0 (a whole one: the filter int makes it)"),
        (-1, "must be a number of seconds, got -1"),
        (True, "must be a number of seconds, got true"),
    ],
)
def test_timeouts_refused(given: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        timeout(given)
    assert f"toy.toml: steps[0].timeout: {message}" in str(caught.value)
    assert len(str(caught.value)) < 200
