"""A `ContainerManager` in memory: containers are scripted by their argv.

It refuses what podman refuses (missing image, path, command, name in use) and passes the same contract tests
(`tests/contract`), so a test with it says something about the real one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

from attrs import define, evolve, field, frozen

from engine.core.errors import ContainerError
from engine.core.manager import (
    Cancelled,
    ContainerInfo,
    ContainerTimeouts,
    ImageInfo,
    LogSink,
    Outcome,
    PullPolicy,
)
from engine.core.podman_form import anchors_of, body
from engine.core.spec import LABEL_WORKER_ID, AnchorSpec, ContainerHandle, ContainerSpec

_TICK = 0.002
_STAMP = b"2026-01-01T00:00:00.000000000+00:00 stdout"


@frozen(kw_only=True)
class Behaviour:
    """What a command does: writes `output` (chunks), runs `effect` with its spec, lasts `seconds`, exits.

    `killed_by` ends it by a signal of its own. `ignores_term`: only SIGKILL stops it. `oom`: the kernel killed in it.
    """

    output: Iterable[bytes] = ()
    effect: Callable[[ContainerSpec], None] | None = None
    seconds: float = 0.0
    exit_code: int = 0
    killed_by: Signals | None = None
    ignores_term: bool = False
    oom: bool = False


@define
class _Container:
    handle: ContainerHandle
    spec: ContainerSpec | AnchorSpec
    state: str = "created"
    created: float = field(factory=time.time)
    started: float = 0.0
    behaviour: Behaviour = field(factory=Behaviour)
    output: bytearray = field(factory=bytearray)
    signals: list[Signals] = field(factory=list)


@define
class MemoryManager:
    """`commands` maps argv to behaviour; `images` are here, those in `registry` can be pulled.

    `started` lists every spec that ran, in order; tests read it. Safe for threads, as the real one is.
    """

    commands: Mapping[tuple[str, ...], Behaviour]
    images: set[str] = field(factory=set)
    registry: set[str] = field(factory=set)
    workdirs: set[str] = field(factory=lambda: {"/", "/tmp"})
    secrets: set[str] = field(factory=set)
    worker_id: str = "memory"
    pull_policy: PullPolicy = "if-not-present"
    timeouts: ContainerTimeouts = field(factory=ContainerTimeouts)
    started: list[ContainerSpec] = field(factory=list)
    _containers: dict[str, _Container] = field(factory=dict)
    _count: int = 0
    _lock: threading.RLock = field(factory=threading.RLock)

    def ensure_image_available(self, image: str, policy: PullPolicy | None = None) -> ImageInfo:
        policy = policy or self.pull_policy
        if policy == "always" or (policy == "if-not-present" and image not in self.images):
            if image not in self.registry:
                raise ContainerError("pull image", image, "manifest unknown", cure="correct the image name")
            self.images.add(image)
        if image not in self.images:
            raise ContainerError("find image", image, "not on this host, and the pull policy is 'never'")
        return ImageInfo(id=f"id-of-{image}", names=(image,))

    def create(self, spec: ContainerSpec) -> ContainerHandle:
        body(spec, {name: self.anchor_path(name) for name in anchors_of(spec)})  # refuses what podman cannot express
        self._check(spec)
        return self._add(spec)

    def _check(self, spec: ContainerSpec) -> None:
        def refuse(why: str) -> ContainerError:
            return ContainerError("create container", spec.name, why)

        if spec.root is None and spec.image not in self.images:
            raise refuse(f"{spec.image}: image not known")
        for mount in spec.mounts:
            if not mount.source.startswith("root:") and not os.path.exists(mount.source):
                raise refuse(f"statfs {mount.source}: no such file or directory")
        targets = [mount.target for mount in spec.mounts] + [tmpfs.target for tmpfs in spec.tmpfs]
        if len(targets) != len(set(targets)):
            raise refuse("duplicate mount destination")
        for secret in spec.secrets:
            if secret.name not in self.secrets:
                raise refuse(f"no such secret {secret.name}")
        if spec.log_path is not None:
            if not os.path.isdir(os.path.dirname(spec.log_path)):
                raise refuse(f"no directory for {spec.log_path}")
            Path(spec.log_path).write_bytes(b"")

    def _add(self, spec: ContainerSpec | AnchorSpec) -> ContainerHandle:
        with self._lock:
            there = self._containers.get(spec.name)
            if there is not None:
                if there.spec.labels.get(LABEL_WORKER_ID) != spec.labels.get(LABEL_WORKER_ID, self.worker_id):
                    raise ContainerError(
                        "create container", spec.name, "the name is taken by a container not ours", cure="remove it"
                    )
                self.remove(there.handle)
            self._count += 1
            handle = ContainerHandle(id=f"{self._count:064x}", name=spec.name)
            self._containers[spec.name] = _Container(handle, spec)
            return handle

    def start(self, handle: ContainerHandle) -> None:
        container = self._get(handle, "start container")
        spec = container.spec
        assert isinstance(spec, ContainerSpec)
        known = self.workdirs | {mount.target for mount in spec.mounts}
        if spec.workdir not in known or spec.argv not in self.commands:
            del self._containers[handle.name]
            why = "no such command" if spec.workdir in known else f'workdir "{spec.workdir}" does not exist'
            raise ContainerError("start container", handle.name, why)
        container.behaviour = self.commands[spec.argv]
        container.state, container.started = "running", time.monotonic()
        self.started.append(spec)
        if container.behaviour.effect is not None:
            container.behaviour.effect(spec)
        for chunk in container.behaviour.output:
            container.output += chunk
        if spec.log_path is not None:
            Path(spec.log_path).write_bytes(_k8s(bytes(container.output)))

    def wait(
        self, handle: ContainerHandle, *, timeout: float | None = None, cancelled: Cancelled | None = None
    ) -> Outcome:
        return self._wait(handle, timeout, cancelled, None, None)

    def run(
        self,
        spec: ContainerSpec,
        *,
        timeout: float | None = None,
        log: LogSink | None = None,
        cancelled: Cancelled | None = None,
        log_limit: int | None = None,
    ) -> Outcome:
        handle = self.create(spec)
        try:
            self.start(handle)
            return self._wait(handle, timeout, cancelled, log, log_limit)
        finally:
            self.remove(handle)

    def _wait(
        self,
        handle: ContainerHandle,
        timeout: float | None,
        cancelled: Cancelled | None,
        log: LogSink | None,
        log_limit: int | None,
    ) -> Outcome:
        container = self._get(handle, "wait for container")
        if container.state == "created":
            raise ContainerError("wait for container", handle.name, "it was never started")
        sent = bytes(container.output)[:log_limit]
        if log is not None and sent:
            log(sent)
        outcome = Outcome(exit_code=0, log_bytes=len(sent), log_exceeded=len(sent) < len(container.output))
        if outcome.log_exceeded:
            self._kill(container, SIGKILL)
        while not self._ended(container):
            if timeout is not None and time.monotonic() - container.started >= timeout:
                outcome = evolve(outcome, timed_out=True, forced=self._stop(container))
            elif cancelled is not None and cancelled():
                outcome = evolve(outcome, cancelled=True, forced=self._stop(container))
            time.sleep(_TICK)
        seconds = time.monotonic() - container.started
        number = container.signals[-1] if container.signals else container.behaviour.killed_by
        code = container.behaviour.exit_code if number is None else 128 + number
        return evolve(outcome, exit_code=code, signal=number, seconds=seconds, oom=container.behaviour.oom)

    def _ended(self, container: _Container) -> bool:
        if container.state == "running" and time.monotonic() - container.started >= container.behaviour.seconds:
            container.state = "exited"
        return container.state == "exited"

    def _stop(self, container: _Container) -> bool:
        self._kill(container, SIGTERM)
        end = time.monotonic() + self.timeouts.stop_grace
        while not self._ended(container) and time.monotonic() < end:
            time.sleep(_TICK)
        if container.state == "exited":
            return False
        self._kill(container, SIGKILL)
        return True

    @staticmethod
    def _kill(container: _Container, number: Signals) -> None:
        if number is SIGKILL or not container.behaviour.ignores_term:
            container.signals.append(number)
            container.state = "exited"

    def remove(self, handle: ContainerHandle, *, force: bool = True) -> bool:
        container = self._containers.get(handle.name)
        if container is None or container.handle != handle:
            return False
        forced = False
        if container.state == "running" and not self._ended(container):
            if not force:
                raise ContainerError("remove container", handle.name, "it is running", cure="stop it, or use force")
            forced = self._stop(container)
        del self._containers[handle.name]
        return forced

    def create_anchor(self, anchor: AnchorSpec) -> ContainerHandle:
        if anchor.image not in self.images:
            raise ContainerError("create container", anchor.name, f"{anchor.image}: image not known")
        return self._add(anchor)

    def anchor_path(self, name: str) -> str:
        container = self._containers.get(name)
        if container is None or not isinstance(container.spec, AnchorSpec):
            raise ContainerError("mount the root of anchor", name, "no such container")
        return f"/anchors/{name}"

    def containers(self, labels: Mapping[str, str]) -> list[ContainerInfo]:
        with self._lock:
            return [
                ContainerInfo(id=c.handle.id, name=name, state=c.state, labels=dict(c.spec.labels), created=c.created)
                for name, c in self._containers.items()
                if labels.items() <= c.spec.labels.items()
            ]

    def _get(self, handle: ContainerHandle, what: str) -> _Container:
        container = self._containers.get(handle.name)
        if container is None or container.handle != handle:
            raise ContainerError(what, handle.name, "no such container")
        return container


def _k8s(output: bytes) -> bytes:
    """`output` in the format of conmon's log file."""
    *lines, rest = output.split(b"\n")
    text = b"".join(b"%s F %s\n" % (_STAMP, line) for line in lines)
    return text + (b"%s P %s\n" % (_STAMP, rest) if rest else b"")
