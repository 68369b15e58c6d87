"""One table of everything podman is told: each row has the words of the command line and the API's equivalent.

Rows without a field of the spec are what holds for every container and nothing can switch off: --init,
no-new-privileges, no capabilities but the spec's, private namespaces, no proxy, host or image environment, no
image entrypoint, health check or volumes, no pull. `engine.core.podman_form` prints and posts the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from engine.core.errors import BadInput, Problem
from engine.core.spec import AnchorSpec, ContainerSpec, ResourceLimits, SecretMount, TmpfsMount, VolumeMount

ROOT_PREFIX = "root:"
"""A mount source ``root:NAME`` is the file system of the anchor container NAME."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH when the spec's env has none: the image's and podman's own variables are all unset."""

NPROC_FLOOR = 16384
"""RLIMIT_NPROC beside a nofile limit. It counts a uid's processes over *all* containers of a user namespace, so it only
backs up `ResourceLimits.pids`, which counts this container's. With `ContainerSpec.own_ids` it counts the same."""

OOM_SCORE = 500
"""Added to the kernel's choice of whom to kill for memory, in thousandths of it, where no cgroup holds a container."""

MOUNT_SEPARATOR = ":"
OVERLAY_SEPARATORS = (",", "\\")
"""The kernel takes an overlay's directories as one text of options."""
LOG_SEPARATORS = (",", '"', "\n", "\r")
"""podman 4 splits log options at commas and takes quotes off, podman 5 does neither."""

_CPU_PERIOD = 100_000  # microseconds; what podman's own --cpus uses
_SHM = "/dev/shm"  # noqa: S108 - a place in the container
_PRIVATE = {"nsmode": "private"}
_NEVER_STARTED = "/never-started"


@frozen
class RootOf:
    """Stands for the mounted path of the anchor `name`, which only podman knows."""

    name: str


Word = tuple[str | RootOf, ...]
"""One word of a command line: text and roots, joined without a space."""


@frozen
class Option:
    """The `words` of one option and the part of podman's SpecGenerator (API `body`) that means the same."""

    words: tuple[Word, ...]
    body: Mapping[str, Any] = field(factory=dict)


def rows(spec: ContainerSpec | AnchorSpec) -> tuple[list[Option], list[Option]]:
    """Options, then operands: the image or root, and the command."""
    if isinstance(spec, AnchorSpec):
        return list(_anchor_options(spec)), [
            _option(spec.image, image=spec.image, raw_image_name=spec.image),
            _option(_NEVER_STARTED, command=[_NEVER_STARTED]),
        ]
    return list(_container_options(spec)), list(_operands(spec))


def _anchor_options(anchor: AnchorSpec) -> Iterator[Option]:
    yield _option(f"--name={anchor.name}", name=anchor.name)
    yield from _labels(anchor.labels)
    yield _option("--network=none", netns={"nsmode": "none"})
    yield from _selinux(anchor)
    yield from _no_surprises()


def _container_options(spec: ContainerSpec) -> Iterator[Option]:
    """Identity first, then what the recipe says, then what holds always."""
    yield _option(f"--name={spec.name}", name=spec.name)
    yield from _labels(spec.labels)
    yield _option(f"--hostname={spec.hostname}", hostname=spec.hostname)
    user = f"{spec.user_id or 0}:{spec.group_id or 0}"
    yield _option(f"--user={user}", user=user)
    if spec.own_ids is not None:
        yield from _own_ids(spec.own_ids)
    yield _option(f"--workdir={spec.workdir}", work_dir=spec.workdir)
    yield _option("--unsetenv-all", unsetenvall=True)
    for key, value in sorted({"PATH": DEFAULT_PATH, **spec.env}.items()):
        yield _option(f"--env={key}={value}", env={key: value})
    network = "none" if spec.network_disabled else "private"
    yield _option(f"--network={network}", netns={"nsmode": network})
    for index, mount in enumerate(spec.mounts):
        yield _volume(mount, f"container {spec.name}", f"mounts[{index}]")
    for index, tmpfs in enumerate(spec.tmpfs):
        yield _tmpfs(tmpfs, f"container {spec.name}", f"tmpfs[{index}]")
    for index, secret in enumerate(spec.secrets):
        yield _secret(secret, f"container {spec.name}", f"secrets[{index}]")
    yield _option("--cap-drop=ALL", cap_drop=["ALL"])
    for capability in spec.capabilities:
        yield _option(f"--cap-add={capability}", cap_add=[capability])
    yield from _selinux(spec)
    yield from _limits(spec.limits, own_ids=spec.own_ids is not None)
    yield _option("--log-driver=k8s-file", log_configuration={"driver": "k8s-file"})
    if spec.log_path is not None:
        for separator in LOG_SEPARATORS:
            _separable(spec.log_path, separator, f"container {spec.name}", "log_path")
        yield _option(f"--log-opt=path={spec.log_path}", log_configuration={"path": spec.log_path})
    yield _option("--stop-signal=SIGTERM", stop_signal=15)
    yield _option(f"--stop-timeout={spec.stop_timeout}", stop_timeout=spec.stop_timeout)
    yield _option("--init", init=True)
    yield _option("--security-opt=no-new-privileges", no_new_privileges=True)
    for name, key in (("pid", "pidns"), ("ipc", "ipcns"), ("uts", "utsns"), ("cgroupns", "cgroupns")):
        yield _option(f"--{name}=private", **{key: _PRIVATE})
    yield _option("--umask=0022", umask="0022")
    yield _option("--systemd=false", systemd="false")
    yield _option("--entrypoint=", entrypoint=[""])  # an empty list would leave the image's in place
    yield from _no_surprises()


def _no_surprises() -> Iterator[Option]:
    """Nothing that image, host or service could add without being asked."""
    yield _option("--image-volume=ignore", image_volume_mode="ignore")
    yield _option("--no-healthcheck", healthconfig={"Test": ["NONE"]})
    yield _option("--http-proxy=false", httpproxy=False)
    yield _option("--env-host=false", env_host=False)
    # A worker under systemd has NOTIFY_SOCKET; podman would hand it to the container.
    yield _option("--sdnotify=ignore", sdnotifyMode="ignore")
    yield _option("--pull=never")  # the API's create never pulls


def _operands(spec: ContainerSpec) -> Iterator[Option]:
    if spec.root is None:
        yield _option(spec.image, image=spec.image, raw_image_name=spec.image)
    else:
        yield Option((("--rootfs",), (RootOf(spec.root),)), {"rootfs": RootOf(spec.root)})
    if not spec.argv:  # podman would run whatever the image names
        raise BadInput([Problem(f"container {spec.name}", "argv", "is empty", "give a command")])
    for word in spec.argv:
        yield _option(word, command=[word])


def _labels(labels: Mapping[str, str]) -> Iterator[Option]:
    for key, value in sorted(labels.items()):
        yield _option(f"--label={key}={value}", labels={key: value})


def _volume(mount: VolumeMount, where: str, path: str) -> Option:
    """A bind mount. `nosuid,nodev` except for an anchor's root, which must behave as a root."""
    source: str | RootOf = mount.source
    options = ["ro" if mount.read_only else "rw"]
    if mount.source.startswith(ROOT_PREFIX):
        source = RootOf(mount.source.removeprefix(ROOT_PREFIX))
    else:
        _separable(mount.source, MOUNT_SEPARATOR, where, f"{path}.source")
        options += ["nosuid", "nodev"]
    _separable(mount.target, MOUNT_SEPARATOR, where, f"{path}.target")
    if mount.overlay:
        if mount.selinux_label is not None:
            problem = "an overlay cannot have an SELinux label"
            raise BadInput([Problem(where, f"{path}.selinux_label", problem, "leave the label out")])
        if isinstance(source, str):
            for separator in OVERLAY_SEPARATORS:
                _separable(source, separator, where, f"{path}.source")
        # As a plain option of a bind mount the API takes "O" and lets the container write to the host.
        part = {"source": source, "destination": mount.target}
        return Option((("--volume=", source, f":{mount.target}:O"),), {"overlay_volumes": [part]})
    if mount.selinux_label is not None:
        options.append(mount.selinux_label)
    bind = {"type": "bind", "source": source, "destination": mount.target, "options": options}
    return Option((("--volume=", source, f":{mount.target}:{','.join(options)}"),), {"mounts": [bind]})


def _tmpfs(mount: TmpfsMount, where: str, path: str) -> Option:
    _separable(mount.target, MOUNT_SEPARATOR, where, f"{path}.target")
    options = [f"size={mount.size}", f"mode={mount.mode}"]
    part = {"type": "tmpfs", "source": "tmpfs", "destination": mount.target, "options": options}
    return _option(f"--tmpfs={mount.target}:{','.join(options)}", mounts=[part])


def _secret(secret: SecretMount, where: str, path: str) -> Option:
    _separable(secret.name, ",", where, f"{path}.name")
    _separable(secret.target, ",", where, f"{path}.target")
    word = f"{secret.name},target={secret.target},uid={secret.uid},gid={secret.gid},mode={secret.mode}"
    part = {
        "Source": secret.name,
        "Target": secret.target,
        "UID": secret.uid,
        "GID": secret.gid,
        "Mode": int(secret.mode, 8),
    }
    return _option(f"--secret={word}", secrets=[part])


def _selinux(spec: ContainerSpec | AnchorSpec) -> Iterator[Option]:
    pairs = (("type", spec.selinux_type), ("level", spec.selinux_level))
    labels = [f"{key}:{value}" for key, value in pairs if value is not None]
    for label in labels:
        yield _option(f"--security-opt=label={label}", selinux_opts=[label])
    if labels:  # what the command line writes so that `podman inspect` can show the options
        yield Option((), {"annotations": {"io.podman.annotations.label": ",label=".join(labels)}})


def _own_ids(count: int) -> Iterator[Option]:
    """A user namespace of the container's own; ids are those of podman's, so storage and mounts stay as they are."""
    part = [{"container_id": 0, "host_id": 0, "size": count}]
    yield _option(f"--uidmap=0:0:{count}", userns=_PRIVATE, idmappings={"UIDMap": part})
    yield _option(f"--gidmap=0:0:{count}", idmappings={"GIDMap": part})
    yield _option(f"--oom-score-adj={OOM_SCORE}", oom_score_adj=OOM_SCORE)


def _limits(limits: ResourceLimits, *, own_ids: bool) -> Iterator[Option]:
    yield _option(f"--pids-limit={limits.pids}", resource_limits={"pids": {"limit": limits.pids}})
    if limits.memory is not None:
        yield _option(f"--memory={limits.memory}b", resource_limits={"memory": {"limit": limits.memory}})
    if limits.cpus is not None:
        text = f"{limits.cpus:f}".rstrip("0").rstrip(".")
        quota = {"period": _CPU_PERIOD, "quota": int(float(text) * _CPU_PERIOD)}
        yield _option(f"--cpus={text}", resource_limits={"cpu": quota})
    if limits.shm is not None:
        # --shm-size would mount it noexec, and programs that generate code want it otherwise.
        yield _tmpfs(TmpfsMount(target=_SHM, size=limits.shm), "limits", "shm")
    # Any ulimit drops all defaults of containers.conf, and podman 4 then asks for more open files than root may have;
    # rootless (the only place for ids of one's own) it takes what its service has.
    if limits.nofile is not None:
        yield _ulimit("nofile", limits.nofile)
    if own_ids:
        yield _ulimit("nproc", limits.pids)
    elif limits.nofile is not None:
        yield _ulimit("nproc", max(NPROC_FLOOR, limits.pids))


def _ulimit(name: str, value: int) -> Option:
    return _option(f"--ulimit={name}={value}:{value}", r_limits=[{"type": name, "soft": value, "hard": value}])


def _option(word: str, **part: Any) -> Option:
    return Option(((word,),), part)


def _separable(text: str, separator: str, where: str, path: str) -> None:
    """Refuse what podman's command line would take apart; the API would not, and the forms would differ."""
    if separator in text:
        problem = f"podman's command line cannot express {separator!r} in {text!r}"
        raise BadInput([Problem(where, path, problem, f"use a name without {separator!r}")])
