"""Real podman makes the same container of the printed command and of the API's body.

Compared are `podman inspect` and, because inspect leaves out overlays and the options of some mounts, also the
configuration that podman hands to the OCI runtime.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from engine.adapters.podman import PodmanManager
from engine.core.podman_form import body, shell_text
from engine.core.spec import AnchorSpec, ContainerSpec, ResourceLimits, SecretMount, TmpfsMount, VolumeMount
from tests.form import samples
from tests.inspected import as_by_command_line, assert_same_inspect, command_line_adds, here, inspect
from tests.podman_fixtures import LABELS, WORKER
from tests.podmanhost import import_tiny, podman

pytestmark = pytest.mark.podman

SECRET_NAME = f"{WORKER}-secret"
ANCHOR = AnchorSpec(name=f"{WORKER}-form-anchor", image="", labels=LABELS)
LIMITS = ResourceLimits(nofile=1024)
PLAIN = ContainerSpec(
    name=f"{WORKER}-form", image="", argv=("sh", "-c", "true"), labels=LABELS, limits=LIMITS, network_disabled=True
)


def mounts(**fields: Any) -> tuple[VolumeMount, ...]:
    return (VolumeMount(source="/srv/a b", target="/m", **fields),)


SPECS: dict[str, dict[str, Any]] = {
    "plain": {},
    "root": {"user_id": None, "group_id": None, "capabilities": ("CHOWN", "SETFCAP", "SYS_CHROOT")},
    "user": {"user_id": 1234, "group_id": 4321, "hostname": "builder", "workdir": "/tmp", "stop_timeout": 3},
    "network": {"network_disabled": False},
    "mounts": {
        "mounts": (
            VolumeMount(source="/srv/ro, comma", target="/m/ro"),
            VolumeMount(source="/srv/rw", target="/m/rw", read_only=False),
            VolumeMount(source="/srv/shared", target="/m/sh ared", selinux_label="z"),
            VolumeMount(source="/srv/private", target="/m/private", selinux_label="Z", read_only=False),
            VolumeMount(source="/srv/overlay", target="/m/overlay", overlay=True),
        )
    },
    "tmpfs": {"tmpfs": (TmpfsMount(target="/tmp", size=1 << 20), TmpfsMount(target="/d,e", size=65536, mode="0700"))},
    "secret": {"secrets": (SecretMount(name=SECRET_NAME, target="/run/s", uid=1000, gid=12, mode="0440"),)},
    "limits": {"limits": ResourceLimits(memory=64_000_000, cpus=1.3, pids=77, nofile=2048, shm=1_000_000)},
    "cpus": {"limits": ResourceLimits(cpus=0.29, nofile=512, pids=20_000)},
    "own ids": {"own_ids": 65536, "limits": ResourceLimits(pids=77, nofile=1024)},
    "selinux": {"selinux_type": "container_t", "selinux_level": "s0:c1,c2", "mounts": mounts(selinux_label="Z")},
    "level": {"selinux_level": "s0:c3,c4"},
    "log": {"log_path": "/logs/a 'b' c=d.log"},
    "texts": {
        "argv": ("sh", "-c", "echo \"$HOME\" '$(id)'\n*", "", "--", "-x", "ü"),
        "env": {"LANG": "C.UTF-8", "EMPTY": "", "MULTI": "a\nb=c", "Q": "'\"$x`", "PATH": "/bin"},
        "labels": {**LABELS, "io.koji.adjutant.role": "a=b, c\"d'", "empty": ""},
    },
    "on a root": {"root": ANCHOR.name, "user_id": 1000},
    "beside a root": {
        "user_id": None,
        "mounts": (VolumeMount(source=f"root:{ANCHOR.name}", target="/target", read_only=False),),
    },
}


@pytest.fixture(scope="module")
def surroundings(manager: PodmanManager, tiny_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The secret and the anchor that specs name."""
    secret = tmp_path_factory.mktemp("secret") / "secret"
    secret.write_text("s")
    podman("secret", "create", SECRET_NAME, secret)
    anchor = manager.create_anchor(attrs.evolve(ANCHOR, image=tiny_image))
    yield
    manager.remove(anchor)
    podman("secret", "rm", SECRET_NAME)


def made(name: str, folder: Path, image: str) -> ContainerSpec:
    return here(attrs.evolve(PLAIN, **SPECS[name]), folder, image)


def test_the_specs_use_every_field() -> None:
    """A field that no spec here sets is not compared."""
    specs = [attrs.evolve(PLAIN, **change) for change in SPECS.values()]
    objects = [part for spec in specs for part in (spec, spec.limits, *spec.mounts, *spec.tmpfs, *spec.secrets)]
    for cls in set(samples.spec_classes()) - {AnchorSpec}:
        for field in attrs.fields(cls):
            values = {repr(getattr(part, field.name)) for part in objects if isinstance(part, cls)}
            assert len(values) > 1 or cls is SecretMount or field.name in ("name", "image"), (cls, field.name)


@pytest.mark.parametrize("name", SPECS)
def test_same_inspect(name: str, manager: PodmanManager, tiny_image: str, surroundings: None, tmp_path: Path) -> None:
    assert_same_inspect(made(name, tmp_path, tiny_image), manager)


def test_same_inspect_of_an_image_with_opinions(manager: PodmanManager, tiny_image: str, tmp_path: Path) -> None:
    """Entry point, command, environment, volumes, workdir, user, stop signal of an image have no say."""
    name = import_tiny(
        f"localhost/adjutant-opinions:{WORKER}",
        tmp_path,
        'ENTRYPOINT ["/bin/echo","entry"]', 'CMD ["cmd"]', "ENV FROM_IMAGE=1 PATH=/nowhere", "VOLUME /data",
        "WORKDIR /usr", "USER 77", "STOPSIGNAL SIGINT", "LABEL from.image=1", "EXPOSE 80",
    )  # fmt: skip
    try:
        spec = made("plain", tmp_path, name)
        assert_same_inspect(spec, manager)
        out = bytearray()
        outcome = manager.run(attrs.evolve(spec, argv=("sh", "-c", "id -u; pwd; env; ls /data")), log=out.extend)
        text = out.decode()
        assert outcome.exit_code == 1  # ls: the volume was not made
        assert text.startswith("1000\n/\n")
        assert "FROM_IMAGE" not in text
        assert "/nowhere" not in text
    finally:
        podman("rmi", "--force", name)


def test_same_inspect_of_an_anchor(manager: PodmanManager, tiny_image: str) -> None:
    anchor = attrs.evolve(ANCHOR, name=f"{WORKER}-anchor2", image=tiny_image, selinux_level="s0:c5,c6")
    done = subprocess.run(["sh", "-c", shell_text(anchor)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = done.stdout.splitlines()[-1]
    assert Path(path).is_absolute()
    printed = inspect(anchor.name)
    podman("rm", "--force", anchor.name)
    handle = manager.create_anchor(anchor)
    try:
        posted = as_by_command_line(inspect(anchor.name))
    finally:
        manager.remove(handle)
    assert printed == posted


@pytest.mark.parametrize("name", ["root", "mounts", "tmpfs", "limits", "selinux", "on a root"])
def test_same_runtime_configuration(
    name: str, manager: PodmanManager, tiny_image: str, surroundings: None, tmp_path: Path
) -> None:
    spec = made(name, tmp_path, tiny_image)
    subprocess.run(["sh", "-c", shell_text(spec, verb="create")], capture_output=True, check=True)
    try:
        printed = runtime_configuration(spec.name)
    finally:
        podman("rm", "--force", spec.name)
    handle = manager.create(spec)
    try:
        posted = runtime_configuration(spec.name)
        posted["annotations"] |= command_line_adds()
    finally:
        manager.remove(handle)
    assert printed == posted


def runtime_configuration(name: str) -> Any:
    """The OCI configuration podman made; ids, and the random numbers of overlay and network directories, masked."""
    podman("init", name)
    (found,) = json.loads(podman("container", "inspect", name))
    text = Path(found["OCIConfigPath"]).read_text().replace(found["Id"], "ID")
    text = re.sub(r"/userdata/overlay/\d+/", "/userdata/overlay/N/", text)
    text = re.sub(r"/netns-[-0-9a-f]+", "/netns-N", text)
    text = re.sub(r"/storage/overlay/[0-9a-f]{64}/merged", "/storage/overlay/L/merged", text)
    config = json.loads(text)
    config["annotations"].pop("io.kubernetes.cri-o.Created", None)  # the time; podman 5 does not note it
    config["mounts"].sort(key=lambda mount: mount["destination"])
    return config


def test_a_container_shows_how_it_was_made(manager: PodmanManager, tiny_image: str, tmp_path: Path) -> None:
    spec = made("plain", tmp_path, tiny_image)
    handle = manager.create(spec)
    try:
        (found,) = json.loads(podman("container", "inspect", spec.name))
    finally:
        manager.remove(handle)
    assert found["Config"]["CreateCommand"] == body(spec, {})["containerCreateCommand"]
    assert found["HostConfig"]["Privileged"] is False
    assert found["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
