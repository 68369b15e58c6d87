"""How a step's end becomes a failure: whose fault, and the words for it. Pure."""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Iterable

from engine.core.manager import Outcome
from engine.core.outcome import DiskSpace, Failure
from engine.core.plan import PlannedStep
from engine.core.recipe import Fault

INFRASTRUCTURE: Fault = "infrastructure"
NEARLY_FULL = 1024**3
"""dnf and rpm refuse a transaction while this much may still be free."""
MOST_WORDS = 600
"""Letters of one problem in a message; the log has all of it."""
_PROBLEM = re.compile(r"^\s*Problem(?: \d+)?: ", re.MULTILINE)
_FULL_WORDS = re.compile(r"No space left on device|Disk quota exceeded|more space needed on the|Disk Requirements:")


def step_cause(step: PlannedStep, outcome: Outcome, *, log_limit: int | None = None) -> str | None:
    """How the step ended, in words, or None when it ended well.

    `log_limit` is given when the step was stopped because its log outgrew it (bytes).
    """
    memory = step.container.limits.memory
    if log_limit is not None:
        return f"stopped: its log grew beyond {size_words(log_limit)}"
    if outcome.timed_out:
        return f"no end after {step.timeout} s"
    if outcome.oom:
        limit = f"limit {size_words(memory)}" if memory else "no limit set: the host ran out"
        return f"out of memory ({limit})"
    if outcome.signal:
        return f"killed by {signal_words(outcome.signal)}"
    if outcome.exit_code != 0:
        return f"exit code {outcome.exit_code}"
    return None


def step_failure(
    step: PlannedStep,
    outcome: Outcome,
    *,
    cause: str,
    message: str = "",
    log_cut: bool = False,
    disks: Iterable[DiskSpace] = (),
    tail: str = "",
) -> Failure:
    """The failure of a step that ended by `cause`.

    `message` is the recipe's own fault text. `disks` are the lowest values seen while the step ran: a file
    system without room makes any failure the host's, whatever the command said about it. `tail` is the end of
    the log: words about a full disk count only where a disk was nearly full, for a package's own tests say them too.
    """
    place = f"step {step.name}: "
    says_full = bool(_FULL_WORDS.search(tail))
    full = next((disk for disk in disks if disk.full or (says_full and disk.bytes < NEARLY_FULL)), None)
    if full is not None:
        return Failure(
            fault=INFRASTRUCTURE,
            message=f"{place}disk full: {disk_words(full)}; the step ended with {cause}; see {step.log}",
            step=step.name,
            log=step.log,
            retry=True,
        )
    plain = not (log_cut or outcome.timed_out or outcome.oom or outcome.signal)
    words = message or f"{place}{cause}; see {step.log} for more information"
    only_signal = outcome.signal and not (log_cut or outcome.timed_out or outcome.oom)
    told = only_signal and f"killed by signal {outcome.signal};" in words
    if not plain and not told and cause not in words:
        words += f" ({cause})"
    return Failure(fault=_fault(step, outcome, log_cut), message=words, step=step.name, log=step.log)


def _fault(step: PlannedStep, outcome: Outcome, log_cut: bool) -> Fault:
    if log_cut or outcome.timed_out:
        return step.fails
    if outcome.oom:
        # Within a limit the same build fails the same way anywhere; without one it was this host's memory.
        return step.fails if step.container.limits.memory else INFRASTRUCTURE
    return step.exits.get(str(outcome.exit_code), step.fails)


def disk_words(disk: DiskSpace) -> str:
    """``0 bytes free on /var/tmp/x``, or the inodes when those ran out."""
    if disk.inodes < 1 and disk.bytes >= 1:
        return f"no free inode on {disk.path} ({size_words(disk.bytes)} free)"
    return f"{size_words(disk.bytes)} free on {disk.path}"


def problem_words(text: str) -> str:
    """The first of the problems that dnf tells of, in one line and not over-long, and how many more there are.

    dnf writes ``Problem 1: …``, with what is behind it on the lines below, or just lines.
    """
    _before, *problems = _PROBLEM.split(text)
    first, *more = problems or [text]
    words = "; ".join(filter(None, (line.strip(" \t-") for line in first.splitlines())))
    if len(words) > MOST_WORDS:
        words = words[: MOST_WORDS - 1] + "…"
    return words + (f" ({len(more)} more)" if more else "")


def size_words(count: int) -> str:
    """``512 bytes``, ``4.0 GiB``."""
    if count < 1024:
        return f"{count} bytes"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def signal_words(number: int) -> str:
    """``signal 9 (SIGKILL)``."""
    try:
        return f"signal {number} ({signals.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
