"""The worker on a hub stand-in: how soon a task runs, what it costs over a task without container, memory, idle CPU.

The stand-in schedules every 0.1 s (a real hub every 60 s by default), so what is measured is the worker. The
alternative to an empty recipe task is the library's own `sleep` task with 0 seconds: fork, session, close.

With `KOJI_ADJUTANT_KOJID` (the command that starts kojid) kojid is measured beside it in the same run, on a hub of its
own: memory, CPU of a poll, FREE to OPEN.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import Times, alternating, row, table
from tests.hub import HubStandIn
from tests.podmanhost import import_tiny, podman
from tests.worker.kojid import COMMAND, OtherBuilder
from tests.worker.workshop import TOY, WorkerProcess, wait_for
from tools import standin

COUNT = 15
IDLE_SECONDS = 30
CLOCK = TOY.replace('method = "toy"', 'method = "clock"').replace(
    'echo "said $1"', 'read up _ < /proc/uptime; echo "$up"'
)
MEGABYTES = 200
BURST = TOY.replace('method = "toy"', 'method = "burst"').replace(
    'echo "said $1"', f'busybox yes "a line of a build log of sixty-two characters" | busybox head -c {MEGABYTES}000000'
)
LIBRARY = "import koji, koji.daemon, koji.tasks, koji.plugin, koji.util, koji.rpmdiff, time; time.sleep(60)"


def main() -> None:
    conf = standin.containers_conf()
    if conf is not None:
        os.environ["CONTAINERS_CONF"] = str(conf)
    with tempfile.TemporaryDirectory(prefix="adjutant-bench-") as directory:
        place = Path(directory)
        image = import_tiny(f"localhost/adjutant-bench-worker:{os.getpid()}", place)
        try:
            with HubStandIn(place / "koji") as hub:
                hub.add_host("builder1", arches="x86_64", capacity=4)
                _measure(hub, place, image)
        finally:
            podman("rmi", image, check=False)


def _measure(hub: HubStandIn, place: Path, image: str) -> None:
    recipes = place / "recipes"
    recipes.mkdir()
    (recipes / "toy.toml").write_text(TOY)
    (recipes / "clock.toml").write_text(CLOCK)
    (recipes / "burst.toml").write_text(BURST)
    worker = WorkerProcess(hub, place / "b", image, user="builder1", recipes=recipes)
    try:
        worker.start()
        table("Worker")
        _times(hub)
        _burst(hub)
        _memory(hub, worker)
        _idle(worker)
        if COMMAND:
            _beside(hub, place, worker)
    finally:
        worker.close()


def _beside(hub: HubStandIn, place: Path, worker: WorkerProcess) -> None:
    """kojid and this worker, both polling every second: what they need, then how soon they open a task."""
    with HubStandIn(place / "other-koji") as other_hub:
        other_hub.add_host("builder1", arches="x86_64", capacity=4)
        other = OtherBuilder(other_hub, place / "other", user="builder1").start()
        try:
            wait_for(lambda: len(other_hub.calls("host.getTasks")) > 2, 60, "it does not poll")
            wait_for(lambda: len(worker.processes()) == 1, 30)
            table("Worker beside kojid")
            ours, theirs = _pss(worker.pid), _pss(other.pid)
            _pair("idle, PSS of the daemon", ours, theirs, "MB")
            service = sum(_pss(pid) for pid in _services(worker.pid))
            row("of ours besides: podman's service", f"{service:.1f} MB")
            before = _cpu(worker.pid), _cpu(other.pid)
            time.sleep(IDLE_SECONDS)
            used = _cpu(worker.pid) - before[0], _cpu(other.pid) - before[1]
            _pair("CPU of one idle poll", used[0] / IDLE_SECONDS * 1000, used[1] / IDLE_SECONDS * 1000, "ms")
            more = _running(hub, worker.processes), _running(other_hub, other.children)
            _pair("each running `sleep`, PSS of the processes", *more, "MB")
            opened = _opens((hub, other_hub))
            _pair("FREE to OPEN, median (polls of 1 s)", *(times.median * 1000 for times in opened), "ms")
            row("the ranges", " / ".join(map(str, opened)))
        finally:
            other.close()


def _pair(what: str, ours: float, theirs: float, unit: str) -> None:
    """Ours, kojid's, and the ratio."""
    row(what, f"{ours:.1f} {unit} / kojid {theirs:.1f} {unit}: {ours / theirs:.2f}", "< 1")


def _services(pid: int) -> list[int]:
    """Children of the daemon that are other programs."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if b"podman" in Path(f"/proc/{child}/cmdline").read_bytes()]


def _running(hub: HubStandIn, processes: Callable[[], list[int]]) -> float:
    """Megabytes that each of three running tasks adds to a builder's own."""
    before = sum(_pss(pid) for pid in processes())
    tasks = [hub.make_task("sleep", [600]) for _ in range(3)]
    for task in tasks:
        hub.wait_task(task, 30, {"OPEN"})
    time.sleep(2)
    more = (sum(_pss(pid) for pid in processes()) - before) / 3
    for task in tasks:
        hub.cancel(task)
    wait_for(lambda: len(processes()) == 1, 60)
    return more


def _opens(hubs: Sequence[HubStandIn]) -> list[Times]:
    """How long a task is FREE or ASSIGNED, offered at any moment of the builder's second."""
    waits: list[list[float]] = [[] for _ in hubs]
    for _ in range(COUNT):
        for hub, taken in zip(hubs, waits, strict=True):
            hub.forget_calls()
            time.sleep(random.uniform(1, 2))  # noqa: S311 - so that the poll is met at any moment
            offered = time.time()
            task = hub.make_task("sleep", [0])
            assert hub.wait_task(task, 30)["state_name"] == "CLOSED"
            taken.append(hub.calls("host.openTask")[-1].time - offered)
    return [Times(tuple(values)) for values in waits]


def _times(hub: HubStandIn) -> None:
    waits, own = [], []
    for _ in range(COUNT):
        time.sleep(random.uniform(1, 2))  # noqa: S311 - so that the poll is met at any moment
        offered = time.clock_gettime(time.CLOCK_BOOTTIME)
        task = hub.make_task("clock", ["x"])
        assert hub.wait_task(task)["state_name"] == "CLOSED"
        runs = float((hub.task_dir(task) / "say.log").read_text())
        opened = hub.calls("host.openTask")[-1].time - time.time() + time.clock_gettime(time.CLOCK_BOOTTIME)
        waits.append(runs - offered)
        own.append(runs - opened)
    row("FREE until the container's command runs (polls every 1 s)", Times(tuple(waits)))
    row("of it from host.openTask on", Times(tuple(own)))

    def run(method: str, argument: object) -> None:
        task = hub.make_task(method, [argument])
        assert hub.wait_task(task)["state_name"] == "CLOSED"
        wait_for(lambda: hub.calls("logoutChild"))
        hub.forget_calls()

    recipe, plain = alternating([lambda: run("toy", "x"), lambda: run("sleep", 0)], COUNT)
    row("an empty recipe task, FREE to cleared up", recipe)
    row("the library's `sleep 0`, the same way", plain)
    row("overhead of recipe, container, logs and upload", f"{(recipe.median - plain.median) * 1000:.0f} ms")


def _burst(hub: HubStandIn) -> None:
    """A log as fast as a step can write it: how long until all of it is on the hub, and the task closed."""
    begun = time.monotonic()
    task = hub.make_task("burst", ["x"])
    assert hub.wait_task(task, 300)["state_name"] == "CLOSED"
    taken = time.monotonic() - begun
    size = (hub.task_dir(task) / "say.log").stat().st_size
    assert size == MEGABYTES * 1_000_000, f"{size} bytes arrived"
    row(f"a task whose log is {MEGABYTES} MB, complete on the hub when it closes", f"{taken:.1f} s")


def _memory(hub: HubStandIn, worker: WorkerProcess) -> None:
    library = subprocess.Popen([sys.executable, "-c", _with_rpmdiff()])
    time.sleep(3)
    row("memory of the idle worker (PSS)", f"{_pss(worker.pid):.0f} MB", "below kojid's")
    row("memory of a process that only imports the library (PSS)", f"{_pss(library.pid):.0f} MB")
    library.kill()
    library.wait()
    before = _all(worker)
    tasks = [hub.make_task("toy", ["long", 600]) for _ in range(3)]
    for task in tasks:
        wait_for((hub.task_dir(task) / "say.log").exists)
    time.sleep(2)
    row("memory of each running task (PSS of the worker's processes)", f"{(_all(worker) - before) / 3:.0f} MB")
    for task in tasks:
        hub.cancel(task)
    begun = time.monotonic()
    wait_for(lambda: not worker.containers(), 30)
    row(
        "cancel of three tasks until their containers are gone",
        f"{time.monotonic() - begun:.1f} s",
        "poll + stop_grace",
    )


def _with_rpmdiff() -> str:
    """rpmdiff needs the rpm bindings, which not every host has."""
    try:
        import rpm  # noqa: F401
    except ImportError:
        return LIBRARY.replace(", koji.rpmdiff", "")
    return LIBRARY


def _idle(worker: WorkerProcess) -> None:
    wait_for(lambda: len(worker.processes()) == 1, 30)
    before = _cpu(worker.pid)
    time.sleep(IDLE_SECONDS)
    used = _cpu(worker.pid) - before
    row("CPU of idle polling, each poll (polls every 1 s)", f"{used / IDLE_SECONDS * 1000:.1f} ms")
    row("the same at kojid's 15 s", f"{used / IDLE_SECONDS / 15 * 100:.3f} % of one CPU")


def _all(worker: WorkerProcess) -> float:
    return sum(_pss(pid) for pid in worker.processes())


def _pss(pid: int) -> float:
    """Megabytes, shared pages divided among those who share them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no Pss of {pid}")


def _cpu(pid: int) -> float:
    """Seconds of CPU so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
