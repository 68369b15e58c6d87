"""Timing and its words: medians with their range, never a bare number."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence

from attrs import frozen


@frozen
class Times:
    """Seconds of several runs of one thing."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        unit, factor = ("ms", 1000.0) if self.median < 0.5 else ("s", 1.0)
        low, middle, high = (value * factor for value in (min(self.seconds), self.median, max(self.seconds)))
        return f"{middle:.2f} {unit} ({low:.2f}-{high:.2f}, n={len(self.seconds)})"


def times(function: Callable[[], object], count: int) -> Times:
    """Wall time of `count` calls."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return Times(tuple(taken))


def alternating(functions: Sequence[Callable[[], object]], count: int) -> list[Times]:
    """Wall times of several things taken in turn, so that noise of the machine falls on all of them."""
    taken: list[list[float]] = [[] for _ in functions]
    for _ in range(count):
        for index, function in enumerate(functions):
            taken[index] += times(function, 1).seconds
    return [Times(tuple(values)) for values in taken]


def command(words: Sequence[str], **options: object) -> Callable[[], object]:
    """A call that runs a command, silently, and fails when it fails."""

    def run() -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]

    return run


def row(name: str, value: object, goal: str = "") -> None:
    """One line of a table."""
    print(f"| {name} | {value} | {goal} |", flush=True)


def table(title: str) -> None:
    """Begin a table."""
    print(f"\n### {title}\n\n| what | measured | goal |\n|---|---|---|", flush=True)
