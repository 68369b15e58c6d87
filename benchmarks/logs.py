"""Log throughput: a burst of lines through the engine, complete, against the same burst into a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from attrs import evolve

from benchmarks.measure import alternating, row, table
from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.core.spec import LABEL_WORKER_ID, ContainerSpec, VolumeMount
from tools import standin

MEGABYTES = 200
LINE = "a line of a build log, as long as most of them are, sixty-two"
BURST = f"yes '{LINE}' | head -c {MEGABYTES}000000"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="adjutant-bench-") as directory:
        place = Path(directory)
        spec = ContainerSpec(
            name="adjutant-bench-logs",
            image=standin.task_image(),
            argv=("sh", "-c", BURST),
            user_id=None,
            group_id=None,
            network_disabled=True,
            labels={LABEL_WORKER_ID: "bench"},
            log_path=str(place / "raw.ctr"),
        )
        out = VolumeMount(source=directory, target="/out", read_only=False)
        to_file = evolve(spec, argv=("sh", "-c", BURST + " > /out/burst"), mounts=(out,))
        with PodmanManager(PodmanConfig(worker_id="bench")) as manager:

            def engine() -> None:
                with (place / "log").open("wb") as log:
                    outcome = manager.run(spec, log=log.write)
                size = (place / "log").stat().st_size
                assert outcome.ok, outcome
                assert size == MEGABYTES * 1_000_000, f"{size} bytes arrived"

            def plain() -> None:
                assert manager.run(to_file).ok

            logged, written = alternating([engine, plain], 3)
    table("Logs")
    row(f"{MEGABYTES} MB of 62-byte lines as the log of a step, complete", logged)
    row("the same into a file on a bind mount", written)
    row("throughput", f"{MEGABYTES / logged.median:.0f} MB/s / {MEGABYTES / written.median:.0f} MB/s")


if __name__ == "__main__":
    main()
