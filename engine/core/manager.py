"""What the engine needs from a container engine: protocol and values, no podman.

`engine.adapters.podman.PodmanManager` is the real one, `tests.fakes.MemoryManager` the hand-written fake; both pass
`tests/contract/test_manager.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from attrs import field, frozen

from engine.core.fields import doc
from engine.core.spec import AnchorSpec, ContainerHandle, ContainerSpec

PullPolicy = Literal["if-not-present", "always", "never"]


@frozen(kw_only=True)
class ContainerTimeouts:
    """`adjutant_container_timeouts`, seconds (ADR: pull 300, start 60, stop_grace 20)."""

    pull: int = doc("For an image to be had from its registry, all tries together.", 300, ge=1)
    start: int = doc("For a container to start.", 60, ge=1)
    stop_grace: int = doc("Between SIGTERM and SIGKILL.", 20, ge=0)


@frozen(kw_only=True)
class Outcome:
    """What happened to one container that ended.

    `exit_code` is podman's (137 for SIGKILL, 143 for SIGTERM under --init); `signal` the number when the
    code says a signal ended it, else None. `oom` the kernel killed for memory. `timed_out` and
    `cancelled`: we stopped it. `seconds` is wall time from start to end. `forced`: SIGKILL was needed to stop it.
    `log_bytes` bytes of output seen. `log_exceeded`: killed because it wrote more than `log_limit`.
    """

    exit_code: int
    signal: int | None = None
    oom: bool = False
    timed_out: bool = False
    cancelled: bool = False
    forced: bool = False
    seconds: float = 0.0
    log_bytes: int = 0
    log_exceeded: bool = False

    @property
    def ok(self) -> bool:
        stopped = self.timed_out or self.cancelled or self.log_exceeded
        return self.exit_code == 0 and not (stopped or self.oom)


@frozen(kw_only=True)
class ImageInfo:
    """An image as podman has it: `id` without prefix, `digest` ``sha256:…`` or "", all `names`.

    `size` in bytes, `arch` in the image's own words (``amd64``) or "".
    """

    id: str
    digest: str = ""
    names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    size: int = 0
    arch: str = ""


@frozen(kw_only=True)
class ContainerInfo:
    """A container found by label: `state` is podman's word (created, running, exited, …)."""

    id: str
    name: str
    state: str
    labels: Mapping[str, str] = field(factory=dict)
    created: float = 0.0


LogSink = Callable[[bytes], None]
"""Receives raw output bytes in order, both streams, as they appear; never called concurrently."""

Cancelled = Callable[[], bool]
"""Asked a few times a second while a container runs; True means: stop it now."""


class ContainerManager(Protocol):
    """Lifecycle of ADR 0001/0002. Every failure is a `ContainerError`; nothing is left behind by `run`."""

    def ensure_image_available(self, image: str, policy: PullPolicy | None = None) -> ImageInfo:
        """Make `image` present by the pull policy (None: the configured one) and say what it is."""

    def create(self, spec: ContainerSpec) -> ContainerHandle:
        """Create, not start. A leftover of the same name and labels is removed first."""

    def start(self, handle: ContainerHandle) -> None:
        """Start; a command, user or workdir that does not exist is an error here, nothing stays."""

    def wait(
        self, handle: ContainerHandle, *, timeout: float | None = None, cancelled: Cancelled | None = None
    ) -> Outcome:
        """Block until the container has exited, is stopped after `timeout` seconds or cancelled.

        An exit code is believed only from state ``exited``. Survives a restart of the podman service: the
        container is found again by name.
        """

    def remove(self, handle: ContainerHandle, *, force: bool = True) -> bool:
        """SIGTERM, `stop_grace`, SIGKILL, remove. True when SIGKILL was needed. Absent: no error."""

    def run(
        self,
        spec: ContainerSpec,
        *,
        timeout: float | None = None,
        log: LogSink | None = None,
        cancelled: Cancelled | None = None,
        log_limit: int | None = None,
    ) -> Outcome:
        """create, start, follow the log to its last byte, wait, remove (always).

        `log` gets at most `log_limit` bytes; a container that writes more is killed at once.
        """

    def create_anchor(self, anchor: AnchorSpec) -> ContainerHandle:
        """Create the never-started container that holds a task's root, and mount it."""

    def anchor_path(self, name: str) -> str:
        """Where the anchor's root is mounted, as podman sees it."""

    def containers(self, labels: Mapping[str, str]) -> list[ContainerInfo]:
        """All containers, running or not, that carry every one of `labels`."""
