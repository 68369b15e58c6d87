"""The printed plan is a script to paste: no value of a task may become a line of it."""

from __future__ import annotations

import pytest

from engine.core.facts import Facts, TaskRequest
from engine.core.loader import load_recipe
from engine.core.plan_text import plan_text
from engine.core.render import render

RECIPE = """
recipe = 1
method = "greet"
params = [{ name = "who", type = "str" }]
[[steps]]
name = "greet"
summary = "greeting {{ params.who }}"
argv = ["true"]
"""


@pytest.mark.parametrize("newline", ["\n", "\r", "\r\n"])
def test_a_summary_stays_a_comment(newline: str) -> None:
    request = TaskRequest(method="greet", params={"who": f"you{newline}reboot"})
    text = plan_text(render(load_recipe(RECIPE, "greet.toml"), request, Facts()))
    lines = text.replace("\r", "\n").split("\n")
    assert "reboot" not in lines
    assert any(line.startswith("# step 1, greet: ") for line in lines)
