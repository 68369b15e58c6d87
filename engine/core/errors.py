"""Errors a user can act on: each names the place and the cure, and carries its exit code.

Exit codes of `engine` (documented in README "Exit codes"):

====  =======================================================
0     done
1     the task failed by the package's own fault
2     the command line is wrong (click's own code)
3     bad input: a recipe, request or setting is refused
4     the infrastructure failed; the same task may succeed later or elsewhere
70    a bug in the engine
130   interrupted
====  =======================================================
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from attrs import frozen

_NUMBERS = re.compile(r"([0-9]+)")

EXIT_OK = 0
EXIT_PACKAGE = 1
EXIT_USAGE = 2
EXIT_BAD_INPUT = 3
EXIT_INFRASTRUCTURE = 4
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


def root_cause(error: BaseException) -> str:
    """What the system said, without the layers of requests and urllib3 that speak of pools and retries; never ""."""
    while (below := error.__cause__ or error.__context__) is not None:
        error = below
    return str(error) or type(error).__name__


@frozen(order=True)
class Problem:
    """One thing wrong with one place.

    `where` is the file (or ``"request"``, ``"settings"``), `path` the key path in it
    (``container.mounts[1].source``, may be empty), `message` what is wrong and what was found,
    `cure` what to do, without parentheses; it may be empty where the message says it. `of_task`: a value of the task
    is at fault, whatever place it turned up at, so that no host can do the task.
    """

    where: str
    path: str
    message: str
    cure: str = ""
    of_task: bool = False

    def __str__(self) -> str:
        place = f"{self.where}: {self.path}: " if self.path else f"{self.where}: "
        return place + self.message + (f" ({self.cure})" if self.cure else "")


def by_place(problem: Problem) -> tuple[str, list[str | int], str, str]:
    """Sort key: file, then key path with ``steps[2]`` before ``steps[10]``, then message."""
    parts: list[str | int] = list(_NUMBERS.split(problem.path))
    parts[1::2] = map(int, parts[1::2])  # what a split by a group found stands at the odd places
    return problem.where, parts, problem.message, problem.cure


class EngineError(Exception):
    """Base of every error that is shown without a traceback. `exit_code` is the process's.

    `log` names the task's log that says more, "" when there is none.
    """

    exit_code = EXIT_BUG
    log = ""


class BadInput(EngineError):
    """Recipe, request or settings refused. Carries every problem at once, sorted by place."""

    exit_code = EXIT_BAD_INPUT

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems), key=by_place))
        super().__init__("\n".join(map(str, self.problems)))


class TaskFailed(EngineError):
    """The task failed and a retry elsewhere would fail the same way: the package's fault.

    `fault` is the name of the Koji fault class (contract appendix A), e.g. ``BuildError``.
    """

    exit_code = EXIT_PACKAGE

    def __init__(self, fault: str, message: str) -> None:
        self.fault = fault
        super().__init__(message)


class InfrastructureError(EngineError):
    """This host could not do it; the task itself is not at fault (refuse, retry elsewhere)."""

    exit_code = EXIT_INFRASTRUCTURE


class HostUnfit(InfrastructureError):
    """This host lacks what such a task needs, by the recipe's `checks`; nothing is broken, other tasks run here."""


class ContainerError(InfrastructureError):
    """podman could not do what was asked (ADR "Container Image Lifecycle").

    `what` was attempted, `where` names the container or image, `why` is podman's own answer, `cure`
    what to do, `retry` whether the same call can succeed later without anyone changing anything.
    """

    def __init__(self, what: str, where: str, why: str, *, cure: str = "", retry: bool = False) -> None:
        self.what, self.where, self.why, self.cure, self.retry = what, where, why, cure, retry
        super().__init__(f"{what} {where}: {why}" + (f" ({cure})" if cure else ""))


class Interrupted(EngineError):
    """The user or the hub asked to stop; everything started was cleaned up."""

    exit_code = EXIT_INTERRUPTED


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A cure naming the nearest known word, else the list of known words."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(sorted(known)) if known else ""
