"""Removing what containers wrote, by a container: rootless, their files belong to uids the engine cannot be."""

from __future__ import annotations

from engine.core.manager import ContainerManager
from engine.core.plan import Plan
from engine.core.spec import LABEL_ROLE, ContainerSpec, VolumeMount

TIMEOUT = 600
"""Seconds for removing a task's files; a big build tree takes a minute."""


def scrub(plan: Plan, manager: ContainerManager) -> None:
    """Remove them. ContainerError when it cannot be run."""
    manager.run(scrub_spec(plan), timeout=TIMEOUT)


def scrub_spec(plan: Plan) -> ContainerSpec:
    """A container of the plan's own image that empties every directory its steps could write to.

    As the root of the container, with just enough capabilities to remove any file; ``rm`` follows no link.
    """
    step = next((step for step in plan.steps if step.container.root is None), plan.steps[0])
    image = plan.anchor.image if plan.anchor and step.container.root else step.container.image
    sources = sorted(
        {
            mount.source
            for step in plan.steps
            for mount in step.container.mounts
            if not mount.read_only and mount.source.startswith(plan.workspace.host + "/")
        }
    )
    mounts = tuple(
        VolumeMount(source=source, target=f"/scrub/{index}", read_only=False, selinux_label="Z")
        for index, source in enumerate(sources)
    )
    name = f"adjutant-{plan.worker_id}-{plan.task_id}-scrub"
    return ContainerSpec(
        name=name,
        image=image,
        # A mount itself cannot be removed, so this never ends well; whether all in it is gone, is seen afterwards.
        argv=("rm", "-rf", "--", *(mount.target for mount in mounts)),
        user_id=None,
        group_id=None,
        network_disabled=True,
        mounts=mounts,
        capabilities=("DAC_OVERRIDE", "FOWNER"),
        labels={**step.container.labels, LABEL_ROLE: "scrub"},
        log_path=None,  # logs/ may be gone already: the manager takes a place of its own
        selinux_type=step.container.selinux_type,
        selinux_level=step.container.selinux_level,
    )
