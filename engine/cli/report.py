"""What `engine run` says at its end: what was made and where, or what went wrong and what to do next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from engine.cli.progress import seconds_words
from engine.core.excerpt import clean, excerpt
from engine.core.facts import Settings
from engine.core.outcome import Failure, TaskOutcome
from engine.core.verdict import size_words

PLACEHOLDER = Settings().adjutant_task_image_default
LOG_BYTES = 4 * 1024 * 1024
"""The end of a log in which its errors are looked for."""


def report(outcome: TaskOutcome, results: str, command: str) -> Iterator[str]:
    """Lines for a person; `command` is the same run with ``--keep``."""
    if outcome.failure is None:
        yield from _done(outcome, results)
    else:
        yield from _failed(outcome, outcome.failure, results, command)
    if outcome.workspace is not None:
        yield ""
        yield f"kept: {outcome.workspace}"
        where = shlex.quote(os.path.dirname(outcome.workspace))
        yield f"  look around:  engine shell {outcome.task_id} --workdir {where}"
        yield f"  remove it:    engine shell --remove {outcome.task_id} --workdir {where}"


def _done(outcome: TaskOutcome, results: str) -> Iterator[str]:
    yield f"{outcome.method}: done in {seconds_words(outcome.seconds)}; results in {results}:"
    yield from _root(outcome)
    for group in outcome.artifacts:
        for file in group.files if group.upload else ():
            yield f"  {file.path} ({size_words(file.bytes)})"
    for log in outcome.logs:
        yield f"  {log.name} ({size_words(log.bytes)})"
    yield "  result.json"


def _failed(outcome: TaskOutcome, failure: Failure, results: str, command: str) -> Iterator[str]:
    log = os.path.join(results, failure.log) if failure.log else ""
    if log and (lines := excerpt(_end_of(log))):
        yield f"--- {failure.log}"
        yield from lines
        yield "---"
    yield f"{outcome.method}: failed after {seconds_words(outcome.seconds)}"
    yield f"  why:     {clean(failure.message)}"
    yield f"  class:   {failure.fault} ({_whose(failure)})"
    if PLACEHOLDER in failure.message:
        yield "  cure:    name a task image: --image, or adjutant_task_image_default in worker.toml (see engine image)"
    yield from _root(outcome)
    if log:
        yield f"  log:     {log}"
    if failure.step:
        yield f"  repeat:  {command}"
        yield f"  step:    {os.path.join(results, 'replay.sh')}"


def _root(outcome: TaskOutcome) -> Iterator[str]:
    """Whether the root was there already, and why not."""
    if (root := outcome.buildroot) is not None:
        yield f"  root:    {clean(root.reason)} ({seconds_words(root.seconds)})"


def _whose(failure: Failure) -> str:
    if failure.fault != "infrastructure":
        return "the task's own fault: it would fail the same way elsewhere"
    if failure.retry:
        return "this host's fault: the same task may succeed later or elsewhere"
    return "this host's fault: the same task may succeed elsewhere"


def _end_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
