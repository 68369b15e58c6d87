"""A field that podman never sees cannot exist: changing any field changes both forms."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from engine.core.errors import BadInput
from engine.core.podman_form import anchors_of, body, command, shell_text
from engine.core.spec import AnchorSpec, ContainerSpec, ResourceLimits, SecretMount, TmpfsMount, VolumeMount
from tests.form import samples

ROOTS = {"adjutant-1-root": "/roots/1"}


def own_body(spec: ContainerSpec | AnchorSpec) -> dict[str, Any]:
    """The body without the copy of the command line, which would change in any case."""
    return {key: value for key, value in body(spec, ROOTS).items() if key != "containerCreateCommand"}


def test_every_field_has_a_sample() -> None:
    known = {(cls, name) for cls, names in samples.CHANGES.items() for name in names}
    assert set(samples.fields()) == known, "add the new field to tests/form/samples.py and to podman_options.py"


@pytest.mark.parametrize(("cls", "field"), samples.fields(), ids=lambda value: getattr(value, "__name__", value))
def test_a_change_of_any_field_changes_both_forms(cls: type, field: str) -> None:
    base = samples.ANCHOR if cls is AnchorSpec else samples.BASE
    other = samples.changed(cls, field)
    assert other != base
    assert shell_text(other) != shell_text(base)
    assert shell_text(other, verb="create") != shell_text(base, verb="create")
    assert own_body(other) != own_body(base)


def test_the_twin_test_can_fail() -> None:
    """An unchanged spec changes nothing, so the comparisons above are not vacuous."""
    again = attrs.evolve(samples.BASE)
    assert shell_text(again) == shell_text(samples.BASE)
    assert own_body(again) == own_body(samples.BASE)


def test_what_no_spec_can_switch_off() -> None:
    text, posted = shell_text(samples.BASE), body(samples.BASE, {})
    for option in (
        "--init", "--security-opt=no-new-privileges", "--cap-drop=ALL", "--entrypoint=", "--http-proxy=false",
        "--env-host=false", "--unsetenv-all", "--pull=never", "--pid=private", "--ipc=private", "--uts=private",
        "--cgroupns=private", "--network=private", "--log-driver=k8s-file", "--systemd=false", "--umask=0022",
        "--image-volume=ignore", "--no-healthcheck", "--sdnotify=ignore", "--stop-signal=SIGTERM", "--rm",
    ):  # fmt: skip
        assert f"  {option} \\\n" in text
    assert posted["no_new_privileges"] is True
    assert posted["cap_drop"] == ["ALL"]
    assert posted["entrypoint"] == [""]  # [] would silently keep the image's
    assert posted["init"] is True
    for key in ("pidns", "ipcns", "utsns", "netns", "cgroupns"):
        assert posted[key] == {"nsmode": "private"}
    assert "privileged" not in posted
    assert "--privileged" not in text
    assert "devices" not in posted


def test_a_limit_of_open_files_repeats_the_limit_of_processes() -> None:
    """Setting one ulimit drops podman's defaults of the others."""
    posted = body(samples.BASE, {})
    assert [limit["type"] for limit in posted["r_limits"]] == ["nofile", "nproc"]
    assert "r_limits" not in body(attrs.evolve(samples.BASE, limits=attrs.evolve(samples.LIMITS, nofile=None)), {})


def test_ids_of_its_own_make_the_limit_of_processes_an_rlimit() -> None:
    """Each container has a count of its own; no id changes, so no file changes its owner."""
    spec = attrs.evolve(samples.BASE, own_ids=65537, limits=ResourceLimits(pids=77))
    posted = body(spec, {})
    assert posted["r_limits"] == [{"type": "nproc", "soft": 77, "hard": 77}]
    same = [{"container_id": 0, "host_id": 0, "size": 65537}]
    assert posted["idmappings"] == {"UIDMap": same, "GIDMap": same}
    assert posted["userns"] == {"nsmode": "private"}
    both = body(attrs.evolve(spec, limits=ResourceLimits(pids=77, nofile=1024)), {})["r_limits"]
    assert [(limit["type"], limit["hard"]) for limit in both] == [("nofile", 1024), ("nproc", 77)]


def test_env_and_labels_are_sorted() -> None:
    a = attrs.evolve(samples.BASE, env={"B": "2", "A": "1"}, labels={"y": "2", "x": "1"})
    b = attrs.evolve(samples.BASE, env={"A": "1", "B": "2"}, labels={"x": "1", "y": "2"})
    assert shell_text(a) == shell_text(b)
    assert body(a, {}) == body(b, {})
    assert list(body(a, {})["env"]) == sorted(body(a, {})["env"])


def test_own_path_wins() -> None:
    assert body(attrs.evolve(samples.BASE, env={"PATH": "/bin"}), {})["env"] == {"PATH": "/bin"}


def test_roots() -> None:
    mount = VolumeMount(source="root:adjutant-1-root", target="/target", read_only=False)
    spec = attrs.evolve(samples.BASE, root="other", mounts=(mount,))
    assert anchors_of(spec) == {"other", "adjutant-1-root"}
    posted = body(spec, {**ROOTS, "other": "/roots/2"})
    assert posted["rootfs"] == "/roots/2"
    assert "image" not in posted
    # no nosuid,nodev here: it must behave as a root
    assert posted["mounts"][0] == {
        "type": "bind",
        "source": "/roots/1",
        "destination": "/target",
        "options": ["rw"],
    }
    text = shell_text(spec)
    assert '\n    --rootfs \\\n    "$(podman mount other)" \\\n    true' in text
    assert '--volume="$(podman mount adjutant-1-root)":/target:rw' in text
    with pytest.raises(ValueError, match="'other' is not mounted"):
        body(spec, ROOTS)


def test_an_anchor_prints_its_creation_and_its_mount() -> None:
    text = shell_text(samples.ANCHOR)
    assert text.startswith("podman create \\\n")
    assert text.endswith("\npodman mount adjutant-1-root")
    assert "--rm" not in text


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"mounts": (VolumeMount(source="/a:b", target="/c"),)}, "mounts[0].source"),
        ({"mounts": (samples.MOUNT, VolumeMount(source="/a", target="/c:Z"))}, "mounts[1].target"),
        ({"mounts": (VolumeMount(source="/a", target="/c", overlay=True, selinux_label="Z"),)}, "selinux_label"),
        ({"mounts": (VolumeMount(source="/a,upperdir=/b", target="/c", overlay=True),)}, "source"),
        ({"mounts": (VolumeMount(source="/a\\b", target="/c", overlay=True),)}, "source"),
        ({"tmpfs": (TmpfsMount(target="/t:exec", size=1),)}, "tmpfs[0].target"),
        ({"secrets": (SecretMount(name="a", target="/t,mode=0777"),)}, "secrets[0].target"),
        ({"secrets": (SecretMount(name="a,type=env", target="/t"),)}, "secrets[0].name"),
        ({"log_path": "/a,size=1"}, "log_path"),
        ({"log_path": '/a"b'}, "log_path"),
        ({"log_path": "/a\nb"}, "log_path"),
        ({"argv": ()}, "argv"),
    ],
)
def test_what_the_two_forms_would_take_differently_is_refused(change: dict[str, Any], where: str) -> None:
    spec = attrs.evolve(samples.BASE, **change)
    for form in (lambda: shell_text(spec), lambda: body(spec, {}), lambda: command(spec, {})):
        with pytest.raises(BadInput) as error:
            form()
        (problem,) = error.value.problems
        assert problem.path.endswith(where)
        assert problem.cure
