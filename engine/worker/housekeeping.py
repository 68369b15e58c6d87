"""What a worker does to its host besides tasks: the self-check, and removing what dead processes left."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping

from engine.adapters.podman import PodmanManager
from engine.adapters.workspace import Workdir
from engine.buildroot import PodmanSnapshotImages, upkeep
from engine.core.errors import InfrastructureError
from engine.core.facts import Settings
from engine.core.host import judge_user
from engine.core.recipe import Recipe
from engine.core.spec import (
    LABEL_ROLE,
    LABEL_TASK_ID,
    LABEL_WORKER_ID,
    ContainerHandle,
    ContainerSpec,
    ResourceLimits,
)
from engine.gc import collect
from engine.runner.leftovers import remove_task
from engine.selftest.ready import require_ready
from engine.worker.options import HubOptions
from engine.worker.warm import warm

logger = logging.getLogger(__name__)

CHECK_TIMEOUT = 60.0


class UpkeepPace:
    """When upkeep is due: at the start, some time after the last one if tasks ran since, seldom if none did.

    While tasks run it waits for a gap between them, but no longer than an hour: a builder that is never idle would
    fill its disk. Each time it asks podman, whose private service else ends by itself and gives its memory back
    (`engine.adapters.podman_service`).
    """

    AFTER_TASKS, BUSY, IDLE = 600.0, 3600.0, 6 * 3600.0

    def __init__(self, *, often: bool = False) -> None:
        """`often`: as if tasks ran all the time, for roots are to be made ahead of them."""
        self._last: float | None = None
        self._often = self._worked = often

    def due(self, now: float, *, busy: bool) -> bool:
        """True when it is to be done now (seconds of any clock). `busy`: tasks run."""
        self._worked = self._worked or busy
        wait = self.BUSY if busy else self.AFTER_TASKS if self._worked else self.IDLE
        if self._last is not None and now < self._last + wait:
            return False
        self._last, self._worked = now, self._often
        return True


class Housekeeping:
    """`manager` makes a container manager for the calling process."""

    def __init__(
        self,
        settings: Settings,
        manager: Callable[[], PodmanManager],
        *,
        hub: HubOptions | None = None,
        recipes: Mapping[str, Recipe] | None = None,
        self_test: bool = False,
    ) -> None:
        self.settings, self.manager, self.hub, self.self_test = settings, manager, hub, self_test
        self.recipes = recipes or {}

    def self_check(self, images: Iterable[str] = ()) -> None:
        """Images present by the pull policy, a container of the default one runs, the work directory is ours.

        Raises InfrastructureError (ContainerError) or BadInput with what is wrong.
        """
        workdir = Workdir(self.settings.workdir)
        manager = self.manager()
        ruled = [rule.image for rule in self.settings.adjutant_images]
        images = list(images)
        for image in dict.fromkeys([self.settings.adjutant_task_image_default, *ruled, *images]):
            manager.ensure_image_available(image)
        if self.self_test:
            hub = self.hub or HubOptions()
            private = [path for path in (hub.keytab, hub.cert, hub.ccache) if path]
            require_ready(self.settings, manager, hub=hub, private=private, images=images)
            return
        if (user := judge_user(os.geteuid())).level != "ok":  # ADR 0002: root is the fallback, and is said
            logger.warning("%s", user)
        spec = ContainerSpec(
            name=f"adjutant-{self.settings.worker_id}-check-{os.getpid()}",
            image=self.settings.adjutant_task_image_default,
            argv=("true",),
            network_disabled=True,
            limits=ResourceLimits(pids=16),
            labels={
                LABEL_WORKER_ID: self.settings.worker_id,
                LABEL_TASK_ID: "0",
                LABEL_ROLE: "check",
            },
            selinux_type=self.settings.selinux_type,
            selinux_level=self.settings.selinux_level,
        )
        outcome = manager.run(spec, timeout=CHECK_TIMEOUT)
        if not outcome.ok:
            raise InfrastructureError(f"self-check: a container that runs `true` ended with {outcome.exit_code}")
        room = os.statvfs(workdir.path)
        if not room.f_bavail:
            raise InfrastructureError(f"self-check: no space left in {workdir.path}")

    def upkeep(self, *, busy: bool = False) -> None:
        """Hold the limits of stored roots, remove what dead processes left, of making them and of tasks; and, unless
        `busy`, make the roots that the operator wants to be there before a task needs them."""
        manager = self.manager()
        upkeep(self.settings, PodmanSnapshotImages(manager.service), manager)
        done = collect(manager, worker_id=self.settings.worker_id, workdir=self.settings.workdir)
        if done.failed:
            raise InfrastructureError("; ".join(done.failed))
        if self.settings.buildroots.warm and self.hub is not None and not busy:
            warm(self.settings, self.recipes, self.hub, manager)

    def sweep(self, task_id: int | None = None) -> None:
        """Remove the containers and directories of one task, or of every task, of this worker.

        Directories that a live process holds, or that were kept, stay. InfrastructureError when something could
        not be removed.
        """
        labels = {LABEL_WORKER_ID: self.settings.worker_id}
        if task_id is not None:
            labels[LABEL_TASK_ID] = str(task_id)
        manager = self.manager()
        # A root's own container goes last: steps run on it.
        for info in sorted(manager.containers(labels), key=lambda info: info.labels.get(LABEL_ROLE) == "anchor"):
            logger.warning("removing container %s (%s), left by a dead process", info.name, info.state)
            manager.remove(ContainerHandle(id=info.id, name=info.name), force=True)
        workdir = Workdir(self.settings.workdir)
        for number in [task_id] if task_id is not None else workdir.ids():
            if number in workdir.kept():
                continue
            directory = workdir.open(number)
            if directory is not None:
                logger.warning("removing %s, left by a dead process", directory.path)
                # Rootless, what its containers wrote is of other users: only a container can remove it.
                remove_task(directory, self.settings.worker_id, manager)
