"""Whose fault the end of a step is, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from engine.core.manager import Outcome
from engine.core.outcome import DiskSpace, Failure
from engine.core.plan import PlannedStep
from engine.core.spec import ContainerSpec, ResourceLimits
from engine.core.verdict import problem_words, size_words, step_cause, step_failure

GIB = 1024**3


def step(memory: int | None = 4 * GIB, **more: Any) -> PlannedStep:
    container = ContainerSpec(name="c", image="i", argv=("x",), limits=ResourceLimits(memory=memory))
    values: dict[str, Any] = {"name": "build", "summary": "", "log": "build.log", "timeout": 3600}
    values |= {"fails": "BuildError", "exits": {"75": "infrastructure"}}
    return PlannedStep(container=container, **{**values, **more})


def judged(outcome: Outcome, *, of: PlannedStep | None = None, **more: Any) -> Failure:
    chosen = of or step()
    cause = step_cause(chosen, outcome, log_limit=1024 if more.get("log_cut") else None)
    assert cause is not None
    return step_failure(chosen, outcome, cause=cause, **more)


def test_a_good_end_has_no_cause() -> None:
    assert step_cause(step(), Outcome(exit_code=0)) is None


@pytest.mark.parametrize(
    ("outcome", "fault", "words"),
    [
        (Outcome(exit_code=1), "BuildError", "step build: exit code 1; see build.log for more information"),
        (Outcome(exit_code=75), "infrastructure", "exit code 75"),
        (Outcome(exit_code=137, signal=9), "BuildError", "killed by signal 9 (SIGKILL)"),
        (Outcome(exit_code=139, signal=11), "BuildError", "signal 11 (SIGSEGV)"),
        (Outcome(exit_code=137, signal=9, oom=True), "BuildError", "out of memory (limit 4.0 GiB)"),
        (Outcome(exit_code=0, oom=True), "BuildError", "out of memory"),
        (Outcome(exit_code=143, signal=15, timed_out=True), "BuildError", "no end after 3600 s"),
    ],
)
def test_ends(outcome: Outcome, fault: str, words: str) -> None:
    failure = judged(outcome)
    assert failure.fault == fault
    assert words in failure.message
    assert (failure.step, failure.log) == ("build", "build.log")


def test_out_of_memory_without_a_limit_is_the_hosts() -> None:
    failure = judged(Outcome(exit_code=137, oom=True), of=step(memory=None))
    assert failure.fault == "infrastructure"
    assert "the host ran out" in failure.message


def test_a_log_without_end_is_the_packages() -> None:
    failure = judged(Outcome(exit_code=137, signal=9, log_exceeded=True), log_cut=True)
    assert failure.fault == "BuildError"
    assert "log grew beyond 1.0 KiB" in failure.message


def test_the_recipes_own_words_keep_the_cause() -> None:
    said = "error building package, mock exited with status 137"
    assert judged(Outcome(exit_code=1), message=said).message == said
    assert judged(Outcome(exit_code=137, signal=9), message=said).message == said + " (killed by signal 9 (SIGKILL))"
    own = "failed: killed by signal 9 (SIGKILL)"
    assert judged(Outcome(exit_code=137, signal=9), message=own).message == own


@pytest.mark.parametrize(
    ("disk", "tail", "full"),
    [
        (DiskSpace(path="/w", bytes=0), "", True),
        (DiskSpace(path="/w", bytes=5 * GIB, inodes=0), "", True),
        (DiskSpace(path="/w", bytes=20 * 1024**2), "", False),
        (DiskSpace(path="/w", bytes=20 * 1024**2), "cc1: No space left on device", True),
        (DiskSpace(path="/w", bytes=20 * 1024**2), "At least 12MB more space needed on the / filesystem", True),
        (DiskSpace(path="/w", bytes=9 * GIB), "test /dev/full: No space left on device: ok", False),
    ],
)
def test_a_full_disk_is_the_hosts_whatever_the_command_said(disk: DiskSpace, tail: str, full: bool) -> None:
    failure = judged(Outcome(exit_code=1), message="error building", disks=[disk], tail=tail)
    assert (failure.fault == "infrastructure") is full
    if full:
        assert failure.retry
        assert "disk full" in failure.message
        assert "/w" in failure.message
        assert "exit code 1" in failure.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Module or Group 'x' is not available", "Module or Group 'x' is not available"),
        (
            "\n Problem: conflicting requests\n  - nothing provides b needed by a-1-1.noarch\n",
            "conflicting requests; nothing provides b needed by a-1-1.noarch",
        ),
        (
            "\n Problem 1: conflicting requests\n  - nothing provides b needed by a-1-1.noarch\n Problem 2: c"
            "\n Problem 3: d\n",
            "conflicting requests; nothing provides b needed by a-1-1.noarch (2 more)",
        ),
        ("Problem 1: " + "x" * 10_000 + "\nProblem 2: y", "x" * 599 + "… (1 more)"),
        ("one\ntwo", "one; two"),
    ],
)
def test_of_many_problems_the_first_is_told(text: str, words: str) -> None:
    assert problem_words(text) == words


def test_sizes() -> None:
    assert [size_words(n) for n in (0, 1023, 1024, 4 * GIB, 3 * 1024**4)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "4.0 GiB",
        "3.0 TiB",
    ]
