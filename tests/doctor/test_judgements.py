"""Every judgement of a host, on both sides of its border: pure."""

from __future__ import annotations

import pytest

from engine.core import host
from engine.core.facts import MountRule
from engine.core.health import CheckResult, worst

CASES = [
    (host.judge_podman("4.3.1"), "ok"),
    (host.judge_podman("5.4.2"), "ok"),
    (host.judge_podman("4.3.0"), "problem"),
    (host.judge_podman("3.4.4"), "problem"),
    (host.judge_podman("?"), "unknown"),
    (host.judge_runtime("runc", "runc version 1.2.7\nspec: 1.2.0"), "warning"),
    (host.judge_runtime("runc", "runc version 1.2.8"), "ok"),
    (host.judge_runtime("runc", "runc version 1.3.2"), "warning"),
    (host.judge_runtime("runc", "runc version 1.3.3"), "ok"),
    (host.judge_runtime("runc", "runc version 1.4.0-rc.3"), "ok"),
    (host.judge_runtime("runc", "runc version 1.1.5+ds1"), "warning"),
    (host.judge_runtime("crun", "crun version 1.8.1"), "warning"),
    (host.judge_runtime("crun", "crun version 1.30"), "ok"),
    (host.judge_runtime("crun", "crun version 2.0.1"), "ok"),
    (host.judge_runtime("kata", "kata 1.2.3"), "unknown"),
    (host.judge_runtime("", ""), "unknown"),
    (host.judge_storage("overlay", {}), "ok"),
    (host.judge_storage("overlay", {"overlay.mount_program": "fuse-overlayfs"}), "warning"),
    (host.judge_storage("vfs", {}), "warning"),
    (host.judge_cgroups("v2", rootless=True, memory=True, pids=True), "ok"),
    (host.judge_cgroups("v1", rootless=True, memory=False, pids=True), "warning"),
    (host.judge_cgroups("v1", rootless=True, memory=False, pids=False), "problem"),
    (host.judge_cgroups("v1", rootless=False, memory=False, pids=True), "problem"),
    (host.judge_cgroups("v2", rootless=False, memory=True, pids=False), "problem"),
    (host.judge_cgroups("v2", rootless=False, memory=None, pids=True), "unknown"),
    (host.judge_memory(None, 16 * 2**30), "warning"),
    (host.judge_memory(12 * 2**30, 16 * 2**30), "ok"),
    (host.judge_memory(16 * 2**30, 16 * 2**30), "warning"),
    (host.judge_user(0), "warning"),
    (host.judge_user(1002), "ok"),
    (host.judge_ids(0, None, ["newuidmap"], ""), "ok"),
    (host.judge_ids(1002, {"uid": 65537, "gid": 65537}, [], "nss"), "ok"),
    (host.judge_ids(1002, {"uid": 1001, "gid": 65537}, [], "nss"), "warning"),
    (host.judge_ids(1002, {"uid": 65537, "gid": 1}, [], "nss"), "problem"),
    (host.judge_ids(1002, None, [], "nss"), "unknown"),
    (host.judge_ids(1002, {"uid": 65537, "gid": 65537}, ["newgidmap"], "nss"), "problem"),
    (host.judge_absent("image.present", "registry.example.org/x:1", "if-not-present"), "warning"),
    (host.judge_absent("image.present", "registry.example.org/x:1", "never"), "problem"),
    (host.judge_absent("image.present", "localhost/x:1", "if-not-present"), "problem"),
    (host.judge_topdir("/t", "readable"), "ok"),
    (host.judge_topdir("/t", "unreadable"), "problem"),
    (host.judge_topdir("/t", "absent"), "warning"),
    (host.judge_topdir("/t", "unknown"), "unknown"),
    (host.judge_clock(0.4), "ok"),
    (host.judge_clock(-59.0), "ok"),
    (host.judge_clock(90.0), "warning"),
    (host.judge_clock(-301.0), "problem"),
    (host.judge_clock(None), "unknown"),
]


@pytest.mark.parametrize(("result", "level"), CASES, ids=[f"{case[0].name}-{i}" for i, case in enumerate(CASES)])
def test_level_and_cure(result: CheckResult, level: str) -> None:
    assert result.level == level
    assert result.found
    assert result.cure or level in {"ok", "unknown"}
    assert result.fatal == (level == "problem")


def test_selinux() -> None:
    trees = {"/a": "container_file_t", "/b": "default_t", "/c": None, "/d": "nfs_t"}
    levels = {result.name: result.level for result in host.judge_selinux("enforcing", trees)}
    assert levels == {
        "selinux": "ok",
        "selinux./a": "ok",
        "selinux./b": "warning",
        "selinux./c": "unknown",
        "selinux./d": "ok",
    }
    assert worst(host.judge_selinux("disabled", trees)) == worst(host.judge_selinux("", trees)) == "warning"


@pytest.mark.parametrize(
    ("label", "maxjobs", "mode", "level"),
    [
        ("Z", 10, "enforcing", "problem"),
        ("Z", 10, "permissive", "problem"),
        ("Z", 1, "enforcing", None),
        ("z", 10, "enforcing", None),
        ("none", 10, "enforcing", None),
        ("Z", 10, "", "ok"),
    ],
)
def test_private_labels_on_shared_trees(label: str, maxjobs: int, mode: str, level: str | None) -> None:
    rule = MountRule(source="/mnt/koji", target="/mnt/koji", selinux_label=label)
    results = host.judge_labels([rule], maxjobs, mode)
    assert [result.level for result in results] == ([] if level is None else [level])
    assert all('"none"' in result.found + result.cure for result in results)


def test_a_limit_of_memory_is_proposed() -> None:
    assert "limits.memory = 12884901888," in host.judge_memory(None, 16 * 2**30).cure


def test_space() -> None:
    def level(mib: int, inodes: int) -> str:
        return host.judge_space([host.Space(path="/x", bytes=mib * 2**20, inodes=inodes)], 8192)[0].level

    assert level(8192, 1 << 30) == "ok"
    assert level(8191, 1 << 30) == "problem"
    assert level(9000, 1000) == "warning"


def test_the_worst_level_decides() -> None:
    every = [case[0] for case in CASES]
    assert worst(every) == "problem"
    assert worst([result for result in every if result.level == "ok"]) == worst([]) == "ok"


def test_what_a_user_without_cgroups_is_held_by() -> None:
    assert host.own_ids({"subuid": 65536, "subgid": 65536}) == 65537
    assert host.own_ids({"subuid": 65536, "subgid": 100}) == 101
    assert host.own_ids({"subuid": 0, "subgid": 65536}) == host.own_ids({}) == 0
    assert host.own_pids([96365, 32768]) == 8192
    assert host.own_pids([1]) == 1
