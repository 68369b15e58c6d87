"""The host itself: user, ids, SELinux, disks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from engine.adapters import rootless, selinux
from engine.core.facts import Settings
from engine.core.health import CheckResult, ok, problem, warning
from engine.core.host import Space, judge_ids, judge_labels, judge_memory, judge_selinux, judge_space, judge_user


def check_user(info: Mapping[str, Any] | None = None) -> list[CheckResult]:
    """Who the containers belong to, and the ids they may have; `info` is podman's own, None when it does not answer."""
    uid = os.geteuid()
    given = ", ".join(f"{name} gives {count}" for name, count in rootless.id_ranges(uid).items())
    mapped = None if info is None else rootless.mapped_ids(info)
    return [judge_user(uid), judge_ids(uid, mapped, rootless.missing_programs(), given)]


def check_selinux(settings: Settings, maxjobs: int) -> list[CheckResult]:
    """Mode, types of the trees that recipes may mount, private labels on shared trees."""
    mode = selinux.mode()
    rules = settings.adjutant_container_mounts
    trees = {rule.source: selinux.file_type(rule.source) for rule in rules if os.path.isdir(rule.source)}
    return [*judge_selinux(mode, trees), *judge_labels(rules, maxjobs, mode)]


def check_memory(settings: Settings) -> list[CheckResult]:
    """The ceiling of one container against what there is."""
    return [judge_memory(settings.limits.memory, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]


def check_secrets(files: Mapping[str, str]) -> list[CheckResult]:
    """The operator's secret files: there, readable for the worker, and for nobody else."""
    results = []
    for name, path in sorted(files.items()):
        key = f"secrets.{name}"
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            results.append(problem(key, f"{path}: {error.strerror}", "correct adjutant_secrets or make the file"))
            continue
        if not stat.S_ISREG(mode) or not os.access(path, os.R_OK):
            results.append(problem(key, f"{path} is no file that this user can read", "chown it to the worker's user"))
        elif mode & 0o077:
            results.append(warning(key, f"{path} is open to others ({mode & 0o777:04o})", f"chmod 0400 {path}"))
        else:
            results.append(ok(key, path))
    return results


def check_space(paths: Iterable[str], minspace: int) -> list[CheckResult]:
    """Free bytes and inodes, once per file system."""
    spaces: list[Space] = []
    seen: set[int] = set()
    results: list[CheckResult] = []
    for path in paths:
        try:
            device, room = os.stat(path).st_dev, os.statvfs(path)
        except OSError as error:
            results.append(problem(f"disk.{path}", f"{error.strerror}", "correct the path or make it"))
            continue
        if device in seen:
            continue
        seen.add(device)
        inodes = room.f_favail if room.f_files else 1 << 30
        spaces.append(Space(path=path, bytes=room.f_bavail * room.f_frsize, inodes=inodes))
    return [*judge_space(spaces, minspace), *results]
