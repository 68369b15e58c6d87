"""Rendering: in process, and from the shell against importing the libraries it needs."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measure import alternating, command, row, table, times
from engine.adapters.recipes import read_recipe
from engine.cli.render import read_request
from engine.core.plan_text import plan_text
from engine.core.render import render

ROOT = Path(__file__).parents[1]
CASE = ROOT / "tests/golden/buildArch/x86_64"


def main() -> None:
    recipe = read_recipe(ROOT / "recipes/buildArch.toml")
    request = read_request(CASE / "request.toml")
    render(recipe, request.task, request.facts)

    table("Render")
    row(
        "buildArch, recipe to plan, in process",
        times(lambda: render(recipe, request.task, request.facts), 200),
        "< 2 ms",
    )
    plan = render(recipe, request.task, request.facts)
    row("its digest and text besides", times(lambda: plan_text(plan), 100))
    engine = str(Path(sys.executable).with_name("engine"))
    shell, imports = alternating(
        [
            command([engine, "render", "--request", str(CASE / "request.toml")], cwd=ROOT),
            command([sys.executable, "-c", "import click, cattrs, jinja2"], cwd=ROOT),
        ],
        20,
    )
    row("`engine render` from the shell", shell)
    row('`python -c "import click, cattrs, jinja2"`', imports)
    row("ratio", f"{shell.median / imports.median:.2f}", "< 1.5")


if __name__ == "__main__":
    main()
