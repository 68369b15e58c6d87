"""A process that prepares a root, for tests that kill it or run many: ``python -m tests.buildroot.child``.

Arguments: work directory, worker id, image, repository, task id, phase, source package or nothing. In the phase it
makes the file ``there`` in the work directory and waits to be killed; without one it prints decision and key.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from attrs import evolve

from engine.adapters.podman import PodmanConfig, PodmanManager
from engine.buildroot import PodmanSnapshotImages
from engine.buildroot.state import State
from engine.core.facts import Settings
from engine.core.manager import Outcome
from engine.core.snapshots import Snapshot
from engine.core.spec import ContainerHandle, ContainerSpec
from tests.buildroot.roots import Place


def main(workdir: str, worker: str, image: str, repo: str, task: str, phase: str = "", source: str = "") -> None:
    settings = Settings(workdir=workdir, worker_id=worker, adjutant_task_image_default=image)

    def hold() -> None:
        Path(workdir, "there").touch()
        time.sleep(600)

    class Images(PodmanSnapshotImages):
        def load(self, archive: Path) -> None:
            if phase == "store":
                hold()
            super().load(archive)

        def commit(self, container: ContainerHandle, name: str, labels: Any) -> None:
            if phase == "commit":
                threading.Thread(target=super().commit, args=(container, name, labels)).start()
                hold()
            super().commit(container, name, labels)

    class Manager(PodmanManager):
        def run(self, spec: ContainerSpec, **keywords: Any) -> Outcome:
            if phase == "resolve" and "-resolve-" in spec.name:
                spec = evolve(spec, argv=("sleep", "600"))
            return super().run(spec, **keywords)

    class HeldState(State):
        def record(self, _snapshot: Snapshot) -> None:
            hold()

    if phase == "record":
        State.record = HeldState.record  # type: ignore[method-assign]
    with Manager(PodmanConfig(worker_id=worker)) as manager:
        place = Place(settings=settings, manager=manager, images=Images(manager.service))
        options: dict[str, Any] = {"source": source or None, "give_away": not phase}
        with place.prepare(Path(repo), task_id=int(task), **options) as root:
            assert root.report is not None
            print(root.report.decision, root.report.key)


if __name__ == "__main__":
    main(*sys.argv[1:])
