"""The same builds here and by mock, where it is installed, in turn; and the ratio.

mock's best isolated case: its root cache is warm, each build has a root of its own (--uniqueext), so none has to be
deleted before, and none is deleted after. kojid turns that cache off. Here: a hit, without and with the requirements
in the stored root. A whole job of ours is what a worker does for a task, of mock's what kojid does: one command.
"""

from __future__ import annotations

import os
import time
from datetime import datetime

from benchmarks.buildroot import BOTH, ONE_LEVEL, RUNS, bench
from benchmarks.measure import Times, row, table
from engine.cli.local import this_host
from tools import standin
from tools.mock import NoMock, mock, version


def main() -> None:
    when = f"{datetime.now():%Y-%m-%d %H:%M}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before"
    try:
        table(f"Builds beside mock {version()} ({when})")
    except NoMock as reason:
        print(f"not beside mock: {reason}")
        return
    with bench() as place, mock(place.repo.path, this_host().arch, caches=True) as there:
        for name in ("hello-noarch", "hz"):
            srpm = standin.srpm(name)
            for _ in range(2):
                place.job(srpm, BOTH)  # makes the root, then the one with the requirements
            there.build(srpm, unique="first")  # makes the root cache
            whole: dict[str, list[float]] = {"hit": [], "hit, requirements there": [], "mock": []}
            for number in range(RUNS):
                whole["hit"].append(place.job(srpm, ONE_LEVEL).whole)
                whole["hit, requirements there"].append(place.job(srpm, BOTH).whole)
                begin = time.perf_counter()
                there.build(srpm, "--no-cleanup-after", unique=f"{name}-{number}")
                whole["mock"].append(time.perf_counter() - begin)
            times = {key: Times(tuple(values)) for key, values in whole.items()}
            for key, value in times.items():
                ratio = f", mock takes {times['mock'].median / value.median:.1f} times as long" if key != "mock" else ""
                row(f"{name}: {key}", f"{value}{ratio}", "≥ 10 times" if ratio else "")


if __name__ == "__main__":
    main()
