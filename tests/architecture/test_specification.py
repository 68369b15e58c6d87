"""The names and defaults of ADR 0002, read from its text, are the product's."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import attrs
import pytest

from engine.adapters.podman import PodmanManager
from engine.core.errors import ContainerError
from engine.core.image_contents import REQUIRED
from engine.core.manager import ContainerManager
from engine.core.spec import (
    LABEL_TASK_ID,
    LABEL_WORKER_ID,
    ContainerHandle,
    ContainerSpec,
    ResourceLimits,
    VolumeMount,
)
from engine.settings import load_settings
from engine.settings.document import LEAVES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/adr/0002-container-image-security.md").read_text()
CONTAINERFILE = (ROOT / "images/almalinux10/Containerfile").read_text()


def section(head: str) -> str:
    """The text below ``**head**``, to the next such line."""
    return TEXT.partition(f"\n**{head}")[2].partition("\n**")[0]


def test_every_setting_it_names_is_one() -> None:
    named = set(re.findall(r"adjutant_\w+(?:\.\w+)?", TEXT))
    assert "adjutant_container_timeouts.stop_grace" in named
    tables = {leaf.table for leaf in LEAVES.values()}
    assert named <= {*LEAVES, *tables}


def test_every_label_it_names_is_one() -> None:
    assert set(re.findall(r"io\.koji\.adjutant\.\w+", TEXT)) == {LABEL_WORKER_ID, LABEL_TASK_ID}


def test_defaults(tmp_path: Path) -> None:
    (tmp_path / "worker.toml").write_text("")
    settings = load_settings(str(tmp_path / "worker.toml"), environment={}).settings
    assert "default: `registry/almalinux:10`" in TEXT
    assert settings.adjutant_task_image_default == "registry/almalinux:10"
    assert "`adjutant_image_pull_policy = if-not-present` (default)" in TEXT
    assert settings.adjutant_image_pull_policy == "if-not-present"
    assert "Network enabled (`adjutant_network_enabled = true`)" in TEXT
    assert settings.adjutant_network_enabled is True
    assert "`adjutant_container_timeouts.stop_grace = 20` (seconds)" in TEXT
    assert settings.adjutant_container_timeouts.stop_grace == 20
    assert "`/mnt/koji` mount: Apply `:Z` label (private unshared label) by default" in TEXT
    (mount,) = settings.adjutant_container_mounts
    assert (mount.source, mount.target, mount.selinux_label) == ("/mnt/koji", "/mnt/koji", "Z")
    assert "Default: `user_id=1000, group_id=1000`" in TEXT
    spec = ContainerSpec(name="x", image="x", argv=("true",))
    assert (spec.user_id, spec.group_id, spec.network_disabled) == (1000, 1000, False)


@pytest.mark.parametrize("policy", ["if-not-present", "always", "never"])
def test_every_pull_policy_it_names_is_taken(policy: str, tmp_path: Path) -> None:
    assert f"`{policy}`" in TEXT.replace("`adjutant_image_pull_policy = if-not-present`", "`if-not-present`")
    (tmp_path / "worker.toml").write_text(f'adjutant_image_pull_policy = "{policy}"\n')
    assert load_settings(str(tmp_path / "worker.toml"), environment={}).settings.adjutant_image_pull_policy == policy


def test_classes_methods_and_fields() -> None:
    for kind, names in {
        ContainerSpec: ("user_id", "group_id", "image", "mounts", "network_disabled"),
        VolumeMount: ("selinux_label",),
        ResourceLimits: ("memory", "cpus", "pids"),
    }.items():
        assert set(names) <= set(attrs.fields_dict(kind)), kind
        for name in names:
            assert re.search(rf"\b{name}\b", TEXT, re.I) or name == "cpus", name
    for kind in (ContainerSpec, VolumeMount, ResourceLimits, ContainerHandle, ContainerManager, PodmanManager):
        assert kind.__name__ in TEXT or kind is ContainerManager, kind
    assert ContainerError.__name__ in TEXT
    assert "`ensure_image_available(image)`" in TEXT
    assert "`remove(handle, force=True)`" in TEXT
    for manager in (ContainerManager, PodmanManager):
        assert list(inspect.signature(manager.ensure_image_available).parameters)[:2] == ["self", "image"]
        removal = inspect.signature(manager.remove).parameters
        assert list(removal)[:3] == ["self", "handle", "force"]
        assert removal["force"].default is True


def test_the_task_image_has_its_packages() -> None:
    listed = re.findall(r"`([^`]+)`", "".join(re.findall(r"^   - (`.*?) - ", section("Required Packages"), re.M)))
    assert len(listed) == 14, listed
    assert sorted(listed) == sorted(required.package for required in REQUIRED)
    installed = re.search(r"install epel-release.*?install ([^&]*)&&", CONTAINERFILE, re.S)
    assert installed
    assert set(listed) <= set(installed[1].replace("\\", "").split()) - {"--setopt=install_weak_deps=False"}


def test_the_task_image_is_made_of_almalinux_10_and_has_its_user() -> None:
    assert "AlmaLinux 10 (official `almalinux:10`" in TEXT
    assert re.search(r"^ARG BASE=almalinux:10\.\S+$", CONTAINERFILE, re.M)
    assert "useradd -u 1000 -g 1000 -m -s /bin/bash koji" in TEXT
    assert "useradd --uid 1000 --gid 1000 --create-home --shell /bin/bash koji" in CONTAINERFILE
