"""One thing that was looked at: a line of `engine doctor`, `engine image check` and the self-test. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import attrs
from attrs import frozen

Level = Literal["ok", "warning", "problem", "unknown"]
"""`problem` keeps a worker from reporting ready; `warning` and `unknown` (could not be looked at) do not."""

_ORDER: tuple[Level, ...] = ("problem", "warning", "unknown", "ok")


@frozen(kw_only=True)
class CheckResult:
    """One thing that was looked at: `name` is stable (scripts match it), `found` a sentence, `cure` what to do."""

    name: str
    level: Level = "ok"
    found: str = ""
    cure: str = ""

    @property
    def fatal(self) -> bool:
        """True when a worker must not report ready."""
        return self.level == "problem"

    def __str__(self) -> str:
        cure = f" ({self.cure})" if self.cure and self.level != "ok" else ""
        return f"{self.level:<8} {self.name}: {self.found}{cure}"

    def data(self) -> dict[str, Any]:
        """The result as JSON-like data; these four keys."""
        return attrs.asdict(self)


def ok(name: str, found: str) -> CheckResult:
    """All is well."""
    return CheckResult(name=name, found=found)


def warning(name: str, found: str, cure: str = "") -> CheckResult:
    """Works, but not as well or as safely as it could."""
    return CheckResult(name=name, level="warning", found=found, cure=cure)


def problem(name: str, found: str, cure: str = "") -> CheckResult:
    """Tasks would fail or not be contained."""
    return CheckResult(name=name, level="problem", found=found, cure=cure)


def unknown(name: str, found: str, cure: str = "") -> CheckResult:
    """Could not be found out."""
    return CheckResult(name=name, level="unknown", found=found, cure=cure)


def worst(results: Iterable[CheckResult]) -> Level:
    """The worst level among `results`; ``ok`` for none."""
    found = {result.level for result in results}
    return next((level for level in _ORDER if level in found), "ok")
