"""A task's own process: what it records of its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest

from engine.adapters.recipes import read_recipe
from engine.core.facts import Settings
from engine.worker.options import HubOptions
from engine.worker.state import StateDirectory
from engine.worker.task import RecipeTask, TaskContext, task_classes
from tests.worker.workshop import TOY


def test_an_unexpected_error_is_the_tasks_end_and_not_this_hosts_failure(tmp_path: Path) -> None:
    (tmp_path / "toy.toml").write_text(TOY)
    state = StateDirectory(str(tmp_path))
    (state.path / "tasks").mkdir(parents=True)

    def no_podman() -> NoReturn:
        raise AssertionError

    context = TaskContext(settings=Settings(workdir=str(tmp_path)), hub=HubOptions(), state=state, manager=no_podman)
    (toy,) = task_classes({"toy": read_recipe(tmp_path / "toy.toml")}, context)

    class Broken(toy):  # type: ignore[valid-type,misc]
        def _run(self) -> Any:
            raise ValueError("boom")

    task: RecipeTask = Broken(7, "toy", ["x"], None, None, str(tmp_path / "7"))
    with pytest.raises(ValueError, match="boom"):
        task.run()
    record = state.task(7)
    assert (record["end"], record["text"], record["clean"]) == ("failed", "ValueError: boom", True)
