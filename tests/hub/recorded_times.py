"""When the recorded calls were made: the recordings carry no times, but their answers do.

Known times: an answer's own time where it says it (getSessionInfo, host.openTask), and the time of an
earlier call that a later answer tells (updateHost by getHost's update_ts, a task's making by its
create_ts). Between two known times the recorded hosts slept before a pass or before another updateHost,
so the time between them is spread over those points.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .replay import RecordedCall

__all__ = ["infer_times"]

_FREED = {"Freeing task from unresponsive host", "Task assignment timeout"}
_MAKERS = {"makeTask", "build", "newRepo", "host.subtask"}


def infer_times(calls: Sequence[RecordedCall]) -> list[float | None]:
    """Seconds since the epoch for every call, never falling; None before the first known time."""
    known = _known(calls)
    times: list[float | None] = [None] * len(calls)
    last: int | None = None
    for place in sorted(known):
        if last is not None and known[place] < known[last]:
            continue  # told by a call that another client made at the same moment
        if last is not None:
            _spread(calls, times, last, place, known)
        times[place] = known[place]
        last = place
    for place in range(0 if last is None else last + 1, len(calls)):
        times[place] = times[place - 1]
    return times


def _spread(
    calls: Sequence[RecordedCall], times: list[float | None], first: int, last: int, known: dict[int, float]
) -> None:
    stretch = range(first + 1, last + 1)
    waits = [place for place in stretch if _polled_again(calls, place)]
    waits = waits or [place for place in stretch if _began(calls[place])]
    step = (known[last] - known[first]) / len(waits) if waits else 0.0
    now = known[first]
    for place in range(first + 1, last):
        now += step if place in waits else 0.0
        times[place] = now


def _polled_again(calls: Sequence[RecordedCall], place: int) -> bool:
    """Whether the scripted host asked for tasks once more within one pass."""
    before = calls[place - 1].method
    return calls[place].method == "host.updateHost" and before not in {"host.getHost", "host.freeTasks"}


def _began(call: RecordedCall) -> bool:
    """Whether the daemon begins a pass here, or an admin ran the scheduler again."""
    if call.method == "listBuildroots":
        return bool(call.params) and "hostID" in call.params[0]
    return call.method == "scheduler.doRun"


def _known(calls: Sequence[RecordedCall]) -> dict[int, float]:
    known: dict[int, float] = {}
    updates: dict[str, int] = {}
    makers: dict[int, int] = {}
    seen: set[float] = set()
    for place, call in enumerate(calls):
        result: Any = call.result
        if call.method == "host.updateHost":
            updates["host"] = place
        elif call.method in _MAKERS and isinstance(result, int):
            makers.setdefault(result, place)
        elif call.method == "getSessionInfo" and result:
            known[place] = result["update_ts"]
        elif call.method == "host.openTask" and result:
            known[place] = result["start_ts"]
        elif call.method in {"host.getHost", "getHost"} and result and result["update_ts"] not in seen:
            seen.add(result["update_ts"])
            if "host" in updates:
                known[updates["host"]] = result["update_ts"]
        elif call.method == "scheduler.doRun":
            updates["scheduler"] = place
        elif call.method == "scheduler.getLogMessages" and "scheduler" in updates:
            freed = [row["msg_ts"] for row in result if row["msg"] in _FREED]
            known |= {updates.pop("scheduler"): freed[-1]} if freed else {}
        for row in _tasks(result):
            maker = makers.pop(row["id"], None)
            if maker is not None:
                known[maker] = row["create_ts"]
    return known


def _tasks(answer: Any) -> Iterator[dict[str, Any]]:
    if isinstance(answer, dict) and "create_ts" in answer and "method" in answer:
        yield answer
    elif isinstance(answer, list):
        for each in answer:
            yield from _tasks(each)
