"""A recipe's last words: fault texts and the result value, which need what happened. Pure.

Has the shape of `engine.runner.ports.Closing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core import templates
from engine.core.manager import Outcome
from engine.core.outcome import ArtifactSet, LogFile
from engine.core.plan import PlannedStep
from engine.core.recipe import Recipe
from engine.core.results import result_value, result_variables


class RecipeClosing:
    """`variables` are `engine.core.render.closing_variables`; `where` names the recipe in errors."""

    def __init__(self, recipe: Recipe, variables: Mapping[str, Any], where: str) -> None:
        self.recipe, self.variables, self.where = recipe, variables, where

    def fault_text(self, step: PlannedStep, outcome: Outcome, cause: str) -> str:
        """The step's `message`; "" when it has none. One that cannot be rendered tells so beside the cause.

        `exit.code` is podman's (137 after signal 9), `exit.signal` None unless a signal ended it, `exit.text`
        is `cause`, `log` the name of the step's log.
        """
        if not step.message:
            return ""
        how = {"code": outcome.exit_code, "signal": outcome.signal, "text": cause}
        scope = templates.variables({**self.variables, "exit": how, "log": step.log})
        try:
            return templates.text(step.message, scope)
        except templates.TemplateProblem as problem:  # the failure itself matters more than its wording
            return f"step {step.name}: {cause}; see {step.log} for more information (its message: {problem.message})"

    def result(self, artifacts: Sequence[ArtifactSet], logs: Sequence[LogFile]) -> Any:
        """The recipe's `result`. BadInput when a template of it cannot be rendered."""
        declared = [artifact.name for artifact in self.recipe.artifacts]
        found = result_variables(artifacts, logs, task_id=self.variables["task"]["id"], declared=declared)
        return result_value(self.recipe.result, {**self.variables, **found}, self.where)
