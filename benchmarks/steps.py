"""A step through `engine run` against the same container by bare `podman run`."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import alternating, command, row, table
from engine.adapters.recipes import read_recipe
from engine.core.facts import Facts, Settings, TaskRequest
from engine.core.podman_form import shell_text
from engine.core.render import render
from tools import standin

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "benchmarks/recipes"
STEPS = 8


def main() -> None:
    image = standin.task_image()
    engine = str(Path(sys.executable).with_name("engine"))
    with tempfile.TemporaryDirectory(prefix="adjutant-bench-") as directory:

        def run(steps: int) -> list[str]:
            return [
                engine, "run", "noop", "--recipes", str(RECIPES), "--param", f"steps={steps}", "--image", image,
                "--results", f"{directory}/out", "--workdir", f"{directory}/work", "--quiet",
            ]  # fmt: skip

        one, many, bare = alternating([command(run(1)), command(run(STEPS)), _bare(image, directory)], 7)
    each = (many.median - one.median) / (STEPS - 1)
    bare_each = bare.median / STEPS
    table("Steps")
    row("`engine run`, one empty step, whole command", one)
    row(f"`engine run`, {STEPS} empty steps", many)
    row(f"the same {STEPS} containers by `podman run`, one after the other", bare)
    row("one more step: engine / podman run", f"{each * 1000:.0f} ms / {bare_each * 1000:.0f} ms")
    row("ratio for each step", f"{each / bare_each:.2f}", "< 1.3")


def _bare(image: str, directory: str):  # type: ignore[no-untyped-def]
    """The printed plan's own podman invocations, in one shell."""
    settings = Settings(worker_id="bench", workdir=f"{directory}/bare")
    request = TaskRequest(method="noop", params={"steps": STEPS})
    plan = render(read_recipe(RECIPES / "noop.toml"), request, Facts(image=image, settings=settings))
    for part in plan.directories:
        Path(plan.workspace.host, part).mkdir(parents=True, exist_ok=True)
    script = "\n".join(["set -e", *(shell_text(step.container) for step in plan.steps)])
    assert shlex.quote(plan.workspace.host) in script
    return command(["sh", "-c", script])


if __name__ == "__main__":
    main()
