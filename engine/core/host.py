"""Judging a host from what was found on it: one small function for each line of `engine doctor`. Pure.

Floors and their reasons: CHANGELOGs of the runtimes for the escapes of 2024 and 2025 (runc CVE-2024-21626,
CVE-2025-31133, CVE-2025-52565, CVE-2025-52881) and of 2026 (crun).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from engine.core.facts import MountRule
from engine.core.health import CheckResult, ok, problem, unknown, warning

Version = tuple[int, ...]
PODMAN_FLOOR: Version = (4, 3, 1)
CRUN_FLOOR: Version = (1, 30)
IDS_WANTED = 65535
"""Packages own files by ids up to 65534; an id that is not mapped cannot be given (EINVAL)."""
MAX_SKEW = 60.0
KERBEROS_SKEW = 300.0


def parse_version(text: str) -> Version:
    """The first dotted number in `text`; () when there is none. Also ``1.4.0-rc.3`` gives (1, 4, 0)."""
    found = re.search(r"[0-9]+(?:\.[0-9]+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def judge_podman(version: str) -> CheckResult:
    """podman's version against the oldest that the tests run with."""
    floor = ".".join(map(str, PODMAN_FLOOR))
    found = parse_version(version)
    if not found:
        return unknown("podman.version", f"'{version}' is not a version")
    if found < PODMAN_FLOOR:
        return problem("podman.version", f"podman {version}", f"{floor} or newer is needed")
    return ok("podman.version", f"podman {version}")


def judge_runtime(name: str, text: str) -> CheckResult:
    """The OCI runtime: old ones have known ways out of a container."""
    found = parse_version(text)
    shown = f"{name} {'.'.join(map(str, found)) or 'of unknown version'}"
    if not found:
        return unknown("podman.runtime", shown)
    if name == "crun":
        if found < CRUN_FLOOR:
            return warning("podman.runtime", f"{shown} has known ways out of a container", "crun 1.30 or newer")
        return ok("podman.runtime", shown)
    if name == "runc":
        if found < (1, 2, 8) or (1, 3) <= found < (1, 3, 3):
            cure = "runc 1.2.8, 1.3.3 or newer, or crun 1.30"
            return warning("podman.runtime", f"{shown} has known ways out of a container", cure)
        return ok("podman.runtime", shown)
    return unknown("podman.runtime", f"{shown} is not a runtime we know", "use crun or runc")


def judge_storage(driver: str, options: Mapping[str, str]) -> CheckResult:
    """The storage driver: copies of whole file systems make every task slow."""
    if driver == "vfs":
        cure = 'driver = "overlay" in storage.conf; vfs copies the whole image for every container'
        return warning("podman.storage", "vfs", cure)
    if "overlay.mount_program" in options:
        return warning("podman.storage", f"{driver} by fuse", "a kernel of 5.13 or newer needs no mount_program")
    return ok("podman.storage", driver)


def judge_absent(name: str, image: str, policy: str) -> CheckResult:
    """An image that is not here: whether `policy` lets it be pulled when a task needs it. localhost is no registry."""
    if policy == "never" or image.startswith("localhost/"):
        why = "is never pulled" if policy == "never" else "can be pulled from nowhere"
        return problem(name, f"{image} is not on this host and {why}", "engine image build NAME, or podman load")
    return warning(name, f"{image} is not on this host", "engine image build NAME, or engine image pull")


def judge_cgroups(version: str, *, rootless: bool, memory: bool | None, pids: bool | None) -> CheckResult:
    """Whether limits bind: `memory` and `pids` say what a container that exceeded them met; None: not tried.

    Rootless without cgroups, memory is free; that is said. Processes never may be: a fork bomb takes the host.
    """
    free = [name for name, bound in (("memory", memory), ("pids", pids)) if bound is False]
    if free:
        cure = "use cgroup v2 and delegate cpu, memory and pids to the user (docs/host.md)"
        found = f"cgroup {version}: limits on {' and '.join(free)} do not bind"
        return warning("limits", found, cure) if rootless and pids is not False else problem("limits", found, cure)
    if memory is None or pids is None:
        return unknown("limits", f"cgroup {version}: whether limits bind could not be tried")
    return ok("limits", f"cgroup {version}: limits on memory and pids bind")


def judge_memory(limit: int | None, memory: int) -> CheckResult:
    """`limits.memory` and the host's `memory`, both in bytes: does a task run out of memory before the host does?"""
    proposal = memory * 3 // 4 // 2**20 * 2**20
    cure = f"limits.memory = {proposal}, three quarters of it, or less in worker.toml (docs/host.md, section 3)"
    if limit is None:
        found = f"limits.memory is not set: one task may take all {memory // 2**20} MiB of this host"
        return warning("memory", f"{found}, and then the kernel chooses what to end", cure)
    found = f"limits.memory is {limit // 2**20} of this host's {memory // 2**20} MiB"
    return ok("memory", found) if limit < memory else warning("memory", f"{found}: it bounds nothing", cure)


def own_ids(ranges: Mapping[str, int]) -> int:
    """Ids that a container's own user namespace can have: the user's own and her subordinate ones; 0 without any."""
    fewest = min(ranges.values(), default=0)
    return fewest + 1 if fewest else 0


def own_pids(limits: Iterable[int]) -> int:
    """Processes that one container may have where only RLIMIT_NPROC holds it: a quarter of the least of `limits`.

    The kernel counts a container's processes for its owner too; the rest is for the user's podman, which must start
    processes to end a container, and for other tasks.
    """
    return max(min(limits, default=0) // 4, 1)


def judge_user(uid: int) -> CheckResult:
    """Rootless is preferred; root is the ADR's fallback and is said."""
    if uid == 0:
        return warning("user", "runs as root: root in a container is root of the host's kernel", "run it as a user")
    return ok("user", f"uid {uid}, rootless")


def judge_ids(uid: int, mapped: Mapping[str, int] | None, missing: Sequence[str], given: str) -> CheckResult:
    """Ids that podman maps into containers, root's own one included: `mapped` counts them by kind (uid, gid), None when
    podman does not say. `missing` are the programs that map them and are not there, `given` where ids come from.
    """
    if uid == 0:
        return ok("ids", "root needs no mapping")
    if missing:
        cure = "install uidmap (Debian) or shadow-utils (Fedora, EL), then podman system migrate"
        return problem("ids", f"{' and '.join(missing)} not found: no subordinate id can be mapped", cure)
    if mapped is None:
        return unknown("ids", f"podman does not say which ids it maps; {given}")
    few = {name: count for name, count in mapped.items() if count < IDS_WANTED}
    if not few:
        return ok("ids", ", ".join(f"{name}s: {count}" for name, count in mapped.items()))
    found = "podman maps " + " and ".join(f"{count} {name}s" for name, count in few.items()) + f"; {given}"
    cure = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, then podman system migrate"
    none = any(count <= 1 for count in few.values())
    return (problem if none else warning)("ids", found, cure)


def judge_selinux(mode: str, trees: Mapping[str, str | None]) -> list[CheckResult]:
    """`mode` enforcing, permissive, disabled or ""; `trees` the file type of each tree recipes may mount."""
    if mode in {"", "disabled"}:
        found = "no SELinux in this kernel" if not mode else "disabled"
        return [warning("selinux", found, "the ADR asks for enforcing or permissive")]
    results = [ok("selinux", mode)]
    for path, kind in trees.items():
        name = f"selinux.{path}"
        if kind is None:
            results.append(
                unknown(name, "has no label", "a network file system: mount it with context= (docs/host.md)")
            )
        elif kind.startswith("container_") or kind in {"nfs_t", "public_content_t", "public_content_rw_t"}:
            results.append(ok(name, kind))
        else:
            cure = f"semanage fcontext -a -t container_file_t '{path}(/.*)?' && restorecon -R {path}"
            results.append(warning(name, f"is {kind}: containers may not read it", cure))
    return results


def judge_labels(rules: Iterable[MountRule], maxjobs: int, mode: str) -> list[CheckResult]:
    """`Z` on a shared tree locks every other container out as soon as two tasks run, and relabels all of it."""
    results = []
    for rule in rules:
        if rule.selinux_label != "Z" or maxjobs < 2:
            continue
        found = f"{rule.source} would be relabelled privately for each task, and {maxjobs} may run at once"
        cure = f'selinux_label = "none" (or "z") for {rule.source} in adjutant_container_mounts'
        if mode in {"", "disabled"}:
            results.append(
                ok(f"mounts.{rule.source}", f"labelled Z; without effect as long as there is no SELinux: {cure}")
            )
        else:
            results.append(problem(f"mounts.{rule.source}", found, cure))
    return results


@frozen(kw_only=True)
class Space:
    """Room on the file system of `path`: free bytes and inodes."""

    path: str
    bytes: int
    inodes: int


def judge_space(spaces: Sequence[Space], minspace: int) -> list[CheckResult]:
    """Free room where containers and workspaces live; `minspace` in MiB, as kojid's."""
    results = []
    for space in spaces:
        name = f"disk.{space.path}"
        found = f"{space.bytes // 2**20} MiB and {space.inodes} inodes free"
        if space.bytes < minspace * 2**20:
            results.append(problem(name, found, f"{minspace} MiB are required (hub.minspace)"))
        elif space.inodes < 200_000:
            results.append(warning(name, found, "a buildroot has some 20 000 files; make room"))
        else:
            results.append(ok(name, found))
    return results


def judge_topdir(path: str, state: str) -> CheckResult:
    """The hub's tree as uid 1000 sees it in a container: ``absent``, ``readable``, ``unreadable`` or ``unknown``."""
    if state == "absent":
        cure = "mount it read-only, or leave the tasks that need it to other hosts"
        return warning("topdir", f"{path} is not on this host", cure)
    if state == "unreadable":
        return problem("topdir", f"{path} cannot be read by uid 1000 in a container", "check modes and SELinux type")
    if state == "readable":
        return ok("topdir", f"{path} can be read by uid 1000 in a container")
    return unknown("topdir", f"{path} could not be looked at from a container")


def judge_clock(skew: float | None) -> CheckResult:
    """`skew` in seconds: the hub's clock minus ours; None when the hub did not say."""
    if skew is None:
        return unknown("clock", "the hub's time is not known")
    found = f"{abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the hub" if abs(skew) >= 2 else "as the hub's"
    if abs(skew) > KERBEROS_SKEW:
        return problem("clock", found, "Kerberos refuses more than 300 s: run chronyd")
    return warning("clock", found, "run chronyd") if abs(skew) > MAX_SKEW else ok("clock", found)
