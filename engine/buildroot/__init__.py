"""Roots that hold exactly the packages of a tag's repo, warm: made once, found again by their content.

Called between gathering facts and rendering, by `engine run` and by the worker::

    from engine.buildroot import PodmanSnapshotImages, SnapshotLimits, prepare, upkeep

    images = PodmanSnapshotImages(manager.service)
    with prepare(recipe, request, facts, manager, images, note=print, cancelled=cancelled) as root:
        plan = render(recipe, request, root.facts)           # facts.buildroot.image names the snapshot
        outcome = run_task(plan, manager=root.manager, ...)  # not `manager`: it may hand over the root just made
        outcome = evolve(outcome, buildroot=root.report)     # BuildrootReport or None
        if outcome.status == "done":
            root.succeeded()                                 # remember the build requirements for a repeat
    upkeep(facts.settings, images)                           # when idle: leftovers, limits on disk

`root.report` is None when the recipe has no buildroot of mode ``repo``; then `root.facts` and `root.manager` are
those given. Leaving the block lets go of the snapshot, so that it may be pruned; it waits until a snapshot that is
being stored in the background has been stored.

Raises `InfrastructureError` (repo gone or half-written, corrupt package, disk full, podman), `TaskFailed` with
``BuildrootError`` (no such group, the group cannot be installed; dnf's own words), `BadInput` (no repo given),
`Interrupted`.
"""

from engine.buildroot.images import PodmanSnapshotImages, SnapshotImages
from engine.buildroot.prepare import prepare
from engine.buildroot.prepared import Prepared, SnapshotLimits
from engine.buildroot.upkeep import upkeep

__all__ = ["PodmanSnapshotImages", "Prepared", "SnapshotImages", "SnapshotLimits", "prepare", "upkeep"]
