"""From the recipe's mounts to checked VolumeMounts: policy, the operator's ceiling, default labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from attrs import frozen

from engine.core import policy
from engine.core.documents import MAX_INTEGER
from engine.core.facts import Facts
from engine.core.recipe import Mount
from engine.core.spec import SelinuxLabel, TmpfsMount, VolumeMount


@frozen(kw_only=True)
class MountRequest:
    """A recipe's mount with its paths rendered; `path` is its key path in the recipe."""

    mount: Mount
    source: str
    target: str
    path: str


def resolve_mount(request: MountRequest, facts: Facts, workspace: str) -> VolumeMount | policy.Complaint:
    """The mount podman gets, or the complaint.

    A source is the workspace's, the operator's (`adjutant_container_mounts`), or a tree the facts name (a local repo or
    input that the user gave); anything else on the host is refused.
    """
    source, writable = request.source, request.mount.mode == "rw"
    if complaint := policy.target_complaint(request.target):
        return complaint
    if writable and policy.below(request.target, "/etc"):
        return f"{request.target} of the container is not a task's to write", 'say mode = "ro"'
    default: str = "none"
    if policy.below(source, workspace):
        complaint = policy.path_complaint(source) or policy.workspace_complaint(source, workspace, writable=writable)
        default = "Z"
    elif source in _given_trees(facts):
        complaint = policy.given_complaint(source)
        if writable:
            complaint = f"{source} was given to be read", 'say mode = "ro"'
    else:
        complaint = policy.source_complaint(source)
        state = facts.settings.workdir
        if complaint is None and (policy.below(source, state) or policy.below(state, source)):
            complaint = f"{source} overlaps the work directory, where every task's files are", "mount one beside it"
        rule = policy.rule_for(source, facts.settings.adjutant_container_mounts)
        if complaint is None and rule is None:
            complaint = (
                f"{source} is not a tree the operator allows",
                "add it to adjutant_container_mounts, or mount a part of the workspace",
            )
        if complaint is None and rule is not None:
            default = rule.selinux_label
            if writable and rule.read_only:
                complaint = f"{source} may only be read", "adjutant_container_mounts says read_only"
    if complaint is not None:
        return complaint
    overlay = request.mount.mode == "overlay"
    label = "none" if overlay else request.mount.selinux or default
    return VolumeMount(
        source=source,
        target=request.target,
        read_only=not writable,
        selinux_label=_label(label),
        overlay=overlay,
    )


def _label(word: str) -> SelinuxLabel | None:
    return "Z" if word == "Z" else "z" if word == "z" else None


def _given_trees(facts: Facts) -> set[str]:
    trees = {repo.path for repo in facts.repos if repo.path}
    if facts.buildroot is not None:
        trees |= {path for path in (facts.buildroot.tools, facts.buildroot.cache) if path}
    return trees | {path for path in facts.inputs.values() if path.startswith("/")}


def swayed_mounts(steps: Mapping[str, Sequence[VolumeMount]]) -> list[tuple[str, policy.Complaint]]:
    """Mounts, by step, whose source lies inside a tree that some step of the task may write.

    That step could put a link in its place, and podman on the host would follow it.
    """
    writable = sorted({m.source for mounts in steps.values() for m in mounts if not m.read_only and not m.overlay})
    return [
        (name, (f"{mount.source} lies inside {tree}, which a step may write: a link in its place would be followed",
                "mount directories that lie beside each other"))
        for name, mounts in steps.items()
        for mount in mounts
        for tree in writable
        if mount.source != tree and policy.below(mount.source, tree)
    ]  # fmt: skip


def duplicate_targets(mounts: Sequence[VolumeMount | TmpfsMount]) -> list[str]:
    """Targets that occur more than once, with a slash at the end or not: podman refuses them only at create."""
    counts = Counter(mount.target.rstrip("/") for mount in mounts)
    return sorted(target for target, count in counts.items() if count > 1)


def parse_size(text: str) -> int | None:
    """``"512m"``, ``"4g"``, ``"100k"`` or plain bytes to bytes; None when it is none of these, or past 64 bits."""
    units = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].lower() in units else (text, "")
    if not number.isascii() or not number.isdigit():
        return None
    size = int(number[:20]) * units.get(unit, 1)
    return size if len(number) <= 20 and size <= MAX_INTEGER else None
