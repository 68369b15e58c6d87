"""One render under way: variables in scope, problems met so far, and the names of what will be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import isqrt
from typing import Any

from engine.core import policy, templates
from engine.core.documents import described
from engine.core.errors import Problem
from engine.core.facts import Facts
from engine.core.recipe import Recipe
from engine.core.spec import LABEL_ROLE, LABEL_TASK_ID, LABEL_WORKER_ID

_OF_TASK = frozenset({"params", "build_tag", "macros", "env"})


class Rendering:
    """One render under way: the variables, and every problem met so far."""

    def __init__(self, recipe: Recipe, facts: Facts, where: str, variables: Mapping[str, Any]) -> None:
        self.recipe, self.facts, self.where = recipe, facts, where
        self.variables = variables
        self.problems: list[Problem] = []

    def complain(self, path: str, message: str, cure: str = "") -> None:
        self.problems.append(Problem(self.where, path, message, cure))

    def check(self, path: str, complaint: policy.Complaint | None, template: str = "", each: str | None = None) -> bool:
        """Record the complaint; True when there is none. `template` and `each` tell where the value came from."""
        if complaint is not None:
            self.problems.append(Problem(self.where, path, *complaint, of_task=_reads_task(template, each)))
        return complaint is None

    def _try(self, path: str, function: Callable[[], Any], fallback: Any) -> Any:
        try:
            return function()
        except templates.TemplateProblem as problem:
            self.complain(path, problem.message, problem.cure)
            return fallback

    def text(self, path: str, template: str, scope: Mapping[str, Any] | None = None) -> str:
        scope = self.variables if scope is None else scope
        return str(self._try(path, lambda: templates.text(template, scope), ""))

    def value(self, path: str, template: Any) -> Any:
        return self._try(path, lambda: templates.value(template, self.variables), None)

    def holds(self, path: str, when: str | None, scope: Mapping[str, Any] | None = None) -> bool:
        """The truth of a `when`; absent means yes."""
        if when is None:
            return True
        scope = self.variables if scope is None else scope
        place = path if path.endswith((".that", ".standby")) else f"{path}.when"
        return bool(self._try(place, lambda: templates.expression(when, scope), False))

    def each(self, path: str, each: str | None) -> Iterator[Mapping[str, Any]]:
        """One scope with `item` for every element of the list that the key `path` gives; the plain one without it."""
        if each is None:
            yield self.variables
            return
        items = self._try(path, lambda: templates.expression(each, self.variables), [])
        if not isinstance(items, list | tuple):
            self.complain(path, f"must give a list, got {described(templates.plain(items))}")
            return
        for item in items:
            yield templates.Record("", {**self.variables, "item": item})


def _reads_task(template: str, each: str | None) -> bool:
    """Does a text hold a value of the task, or of the hub for it? The operator's own values are judged when read."""
    found = {*templates.names(template), *(templates.names(each, expression=True) if each else ())}
    return any(name.split(".")[0] in _OF_TASK for name in found)


def container_name(facts: Facts, task_id: int, part: str) -> str:
    """Deterministic, so that a restarted worker or service finds the container by name."""
    return f"adjutant-{facts.settings.worker_id}-{task_id}-{part}"


def labels(facts: Facts, task_id: int, role: str) -> dict[str, str]:
    """The ADR's labels win over the operator's own."""
    return {
        **facts.settings.adjutant_container_labels,
        LABEL_ROLE: role,
        LABEL_TASK_ID: str(task_id),
        LABEL_WORKER_ID: facts.settings.worker_id,
    }


def selinux_level(facts: Facts, task_id: int) -> str:
    """One MCS pair per task: its own steps share files, other running tasks are locked out.

    The task id is unranked to a pair of categories a < b of 1024, so 523 776 following tasks differ.
    """
    if facts.settings.selinux_level is not None:
        return facts.settings.selinux_level
    number = task_id % (1024 * 1023 // 2)
    upper = (1 + isqrt(1 + 8 * number)) // 2
    return f"s0:c{number - upper * (upper - 1) // 2},c{upper}"
