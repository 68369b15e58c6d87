"""The real `ContainerManager`: lifecycle of ADR 0001/0002 over podman's REST API, rootful and rootless alike.

An exit code is believed only from state ``exited`` (waiting for a container that never started answers 0). Output
comes from the log file, not from the API. Containers outlive the service and us; they are found again by id and labels.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import attrs
from attrs import field, frozen

from engine.adapters import selinux
from engine.adapters.k8s_log import K8sLog
from engine.adapters.podman_api import PodmanApi, Refused, ServiceGone, ServiceSlow, quoted
from engine.adapters.podman_images import RETRY_PAUSES, ensure_image
from engine.adapters.podman_service import PodmanService
from engine.adapters.podman_watch import Unseen, Watch
from engine.adapters.secrets import PodmanSecrets
from engine.core.errors import ContainerError
from engine.core.manager import Cancelled, ContainerInfo, ContainerTimeouts, ImageInfo, LogSink, Outcome, PullPolicy
from engine.core.podman_form import anchors_of, body
from engine.core.spec import LABEL_TASK_ID, LABEL_WORKER_ID, AnchorSpec, ContainerHandle, ContainerSpec

logger = logging.getLogger(__name__)

_INTERRUPTED_SECONDS = 10.0
"""How long a call that was interrupted may still take, so that what it made can be removed."""


@frozen(kw_only=True)
class PodmanConfig:
    """Settings of the manager. `socket` a path or URL, None: look for one or start a private service.

    `worker_id` is the label value that says a container is ours to remove. `secrets` are `adjutant_secrets`:
    the operator's files by name. `retry_pauses` are seconds before each further try of a pull.
    """

    worker_id: str
    socket: str | None = None
    pull_policy: PullPolicy = "if-not-present"
    timeouts: ContainerTimeouts = field(factory=ContainerTimeouts)
    secrets: Mapping[str, str] = field(factory=dict)
    retry_pauses: tuple[float, ...] = RETRY_PAUSES


class PodmanManager:
    """One per process; threads may share it. Use as a context manager: it ends a private service."""

    def __init__(self, config: PodmanConfig, *, environ: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.service = PodmanService(config.socket, environ=environ)
        self._api = PodmanApi(self.service)
        self.secrets = PodmanSecrets(self._api, config.secrets)
        self._roots: dict[str, str] = {}
        self.denials: Callable[[float, float, str | None, str | None], list[str]] = selinux.denials
        """Asked when a container has ended; what it answers ends the log (ADR "SELinux": denials are logged)."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()
        self.service.close()

    def let_go(self) -> None:
        """Close this process's connections; the next call opens one. An open one keeps an idle service from ending."""
        self._api.close()

    def version(self) -> str:
        """podman's version, e.g. ``4.3.1``. Raises ContainerError when it does not answer."""
        return self._api.version()

    def graph_root(self) -> str:
        """Where podman keeps images and containers, as a path of podman's host; "" when it does not say."""
        return str((self.info().get("store") or {}).get("graphRoot") or "")

    def info(self) -> dict[str, Any]:
        """What ``podman info`` says: tables `host` and `store`."""
        return dict(self._api.call("GET", "/info", what="ask about", where="podman"))

    # Images

    def ensure_image_available(self, image: str, policy: PullPolicy | None = None) -> ImageInfo:
        """See `ContainerManager`; the pull timeout holds for all attempts together."""
        config = self.config
        return ensure_image(self._api, image, policy or config.pull_policy, config.timeouts.pull, config.retry_pauses)

    # One container, step by step

    def create(self, spec: ContainerSpec) -> ContainerHandle:
        """See `ContainerManager`. A stale log file at `log_path` is removed: conmon would append to it."""
        if spec.log_path is not None:
            self._prepare_log(spec)
        roots = {name: self.anchor_path(name) for name in sorted(anchors_of(spec))}
        return self._create(spec, body(spec, roots))

    def start(self, handle: ContainerHandle) -> None:
        """See `ContainerManager`; a container that cannot start is removed."""
        try:
            self._post(handle, "start", "start container", timeout=self.config.timeouts.start)
        except ServiceSlow:
            if self._state(handle, "start container").get("Status") not in ("running", "stopped", "exited"):
                self._discard(handle)
                seconds = self.config.timeouts.start
                raise ContainerError(
                    "start container", handle.name, f"it did not start within {seconds} s", retry=True
                ) from None
        except Refused:
            self._discard(handle)
            raise

    def wait(
        self, handle: ContainerHandle, *, timeout: float | None = None, cancelled: Cancelled | None = None
    ) -> Outcome:
        """See `ContainerManager`."""
        return self._told(handle, self._watch(handle).run(timeout=timeout, cancelled=cancelled))

    def remove(self, handle: ContainerHandle, *, force: bool = True) -> bool:
        """See `ContainerManager`. With `force` False a running container is refused."""
        try:
            state = self._state(handle, "remove container")
        except Refused as error:
            if error.status == 404:
                return False
            if not force:
                raise
            state = {}  # its layer is gone or its state broken: podman cannot look at it, but can remove it
        forced = False
        if state.get("Status") in ("running", "paused", "stopping"):
            if not force:
                raise ContainerError("remove container", handle.name, "it is running", cure="stop it, or use force")
            forced = self._stop(handle)
        self._delete(handle)
        return forced

    def _stop(self, handle: ContainerHandle) -> bool:
        """SIGTERM, `stop_grace`, SIGKILL. True when SIGKILL was needed."""
        try:
            return self._told(handle, self._watch(handle).run(cancelled=lambda: True)).forced
        except Unseen as error:
            logger.warning("%s", error)
            return True

    def _told(self, handle: ContainerHandle, outcome: Outcome) -> Outcome:
        """The outcome; one that needed SIGKILL is warned of (ADR "Shutdown Signal Flow")."""
        if outcome.forced:
            grace = self.config.timeouts.stop_grace
            logger.warning("container %s ignored SIGTERM for %d s and was killed", handle.name, grace)
        return outcome

    # One container, whole

    def run(
        self,
        spec: ContainerSpec,
        *,
        timeout: float | None = None,
        log: LogSink | None = None,
        cancelled: Cancelled | None = None,
        log_limit: int | None = None,
    ) -> Outcome:
        """See `ContainerManager`. The file at `spec.log_path` stays (in conmon's format); None: a private one."""
        with self.secrets.lent(spec), self._with_log(spec) as (logged, output):
            handle: ContainerHandle | None = None
            began = time.time()
            try:
                handle = self.create(logged)
                self.start(handle)
                watch = self._watch(handle)
                outcome = watch.run(timeout=timeout, cancelled=cancelled, output=output, log=log, log_limit=log_limit)
                self._told(handle, outcome)
                if log is not None:
                    found = self.denials(began, time.time(), spec.selinux_level, spec.selinux_type)
                    if found:
                        log(selinux.denial_note(found).encode())
                self._discard(handle)
                return outcome
            except BaseException as error:
                self._clean_up(spec, handle, error)
                raise

    @contextlib.contextmanager
    def _with_log(self, spec: ContainerSpec) -> Iterator[tuple[ContainerSpec, K8sLog]]:
        """The spec with a log path, and its reader."""
        with contextlib.ExitStack() as stack:
            if spec.log_path is None:
                directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="adjutant-log-"))
                spec = attrs.evolve(spec, log_path=os.path.join(directory, "container.log"))
            yield spec, stack.enter_context(K8sLog(spec.log_path or ""))

    def _clean_up(self, spec: ContainerSpec, handle: ContainerHandle | None, error: BaseException) -> None:
        """Leave nothing behind after `error`, which is what the caller shall see."""
        try:
            if handle is not None:
                self.remove(handle)
            elif not isinstance(error, ContainerError):  # interrupted while podman was creating it
                self._remove_leftover(spec.name, spec.labels)
        except ContainerError as second:
            logger.warning("%s", second)
        except BaseException:  # a second Ctrl-C: no more grace
            if handle is not None:
                self._delete(handle)
            raise

    # Anchors

    def create_anchor(self, anchor: AnchorSpec) -> ContainerHandle:
        """See `ContainerManager`."""
        handle = self._create(anchor, body(anchor, {}))
        try:
            self._roots[anchor.name] = self._mount(anchor.name)
        except BaseException:
            self._discard(handle)
            raise
        return handle

    def anchor_path(self, name: str) -> str:
        """See `ContainerManager`. Rootless: a path in podman's mount namespace, not in ours."""
        if name not in self._roots:
            self._roots[name] = self._mount(name)
        return self._roots[name]

    def _mount(self, name: str) -> str:
        path = f"/containers/{quoted(name)}/mount"
        return str(self._api.call("POST", path, what="mount the root of anchor", where=name))

    # What there is

    def containers(self, labels: Mapping[str, str]) -> list[ContainerInfo]:
        """See `ContainerManager`."""
        wanted = [f"{key}={value}" for key, value in sorted(labels.items())]
        params = {"all": "true", "filters": json.dumps({"label": wanted} if wanted else {})}
        found = self._api.call("GET", "/containers/json", what="list", where="containers", params=params)
        return [
            ContainerInfo(
                id=item["Id"],
                name=item["Names"][0],
                state=item["State"],
                labels=item.get("Labels") or {},
                created=_seconds_of(item["Created"]),
            )
            for item in found or []
        ]

    def storage_containers(self) -> list[ContainerInfo]:
        """Containers of which only the storage is left, with this worker's names: their labels are lost.

        A broken database, or a removal that was cut off, leaves them. `remove_storage` removes one.
        """
        params = {"all": "true", "external": "true"}
        found = self._api.call("GET", "/containers/json", what="list", where="containers", params=params)
        ours = re.compile(rf"adjutant-{re.escape(self.config.worker_id)}-([0-9]+)-")
        return [
            ContainerInfo(
                id=item["Names"][0],
                name=item["Names"][0],
                state=item["State"],
                labels={LABEL_WORKER_ID: self.config.worker_id, LABEL_TASK_ID: name[1]},
                created=_seconds_of(item["Created"]),
            )
            for item in found or []
            if item["State"] == "storage" and (name := ours.match(item["Names"][0]))
        ]

    def remove_storage(self, name: str) -> None:
        """Remove what is left of the container `name`; see `storage_containers`."""
        self._delete(ContainerHandle(id=name, name=name))

    # Below: podman's side of it

    def _create(self, spec: ContainerSpec | AnchorSpec, wanted: dict[str, Any]) -> ContainerHandle:
        """Create; a container of ours in the way is a leftover of a worker that was killed."""
        for attempt in (1, 2):
            try:
                answer = _to_its_end(partial(self._post_create, spec.name, wanted))
            except (ServiceGone, ServiceSlow, Refused) as error:
                taken = isinstance(error, Refused) and "already in use" in error.why
                if attempt == 2 or (isinstance(error, Refused) and not taken):
                    raise
                # After a lost connection, podman may or may not have made it.
                self._remove_leftover(spec.name, spec.labels, must=taken)
            else:
                for warning in answer.get("Warnings") or []:
                    logger.info("podman: %s: %s", spec.name, warning)
                return ContainerHandle(id=answer["Id"], name=spec.name)
        raise AssertionError  # the second attempt returned or raised

    def _post_create(self, name: str, wanted: dict[str, Any]) -> Any:
        return self._api.call(
            "POST", "/containers/create", what="create container", where=name, body=wanted, patience=0
        )

    def _remove_leftover(self, name: str, labels: Mapping[str, str], *, must: bool = False) -> None:
        """Remove the container `name` if it carries the same worker's label; else an error if it `must` go."""
        try:
            found = self._inspect(name, "look for container")
        except Refused as error:
            if error.status == 404:
                return
            raise
        worker = labels.get(LABEL_WORKER_ID, self.config.worker_id)
        if (found["Config"].get("Labels") or {}).get(LABEL_WORKER_ID) == worker:
            logger.info("removing container %s, left over from an earlier attempt", name)
            self._roots.pop(name, None)
            self.remove(ContainerHandle(id=found["Id"], name=name))
        elif must:
            cure = f"see `podman inspect {name}`; remove or rename it"
            raise ContainerError("create container", name, "the name is taken by a container not ours", cure=cure)

    def _prepare_log(self, spec: ContainerSpec) -> None:
        directory = os.path.dirname(spec.log_path or "")
        try:
            if not os.path.isdir(directory):
                raise FileNotFoundError(directory)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spec.log_path or "")
        except OSError as error:
            cure = "create the directory of its log, writable for this user"
            raise ContainerError("create container", spec.name, str(error), cure=cure) from None

    def _watch(self, handle: ContainerHandle) -> Watch:
        return Watch(self._api, handle, grace=self.config.timeouts.stop_grace)

    def _inspect(self, name: str, what: str) -> dict[str, Any]:
        answer = self._api.call("GET", f"/containers/{quoted(name)}/json", what=what, where=name)
        return dict(answer)

    def _state(self, handle: ContainerHandle, what: str) -> dict[str, Any]:
        answer = self._api.call("GET", f"/containers/{handle.id}/json", what=what, where=handle.name)
        return dict(answer["State"])

    def _post(self, handle: ContainerHandle, verb: str, what: str, *, timeout: float) -> None:
        self._api.call("POST", f"/containers/{handle.id}/{verb}", what=what, where=handle.name, timeout=timeout)

    def _delete(self, handle: ContainerHandle) -> None:
        """Delete at once; absent is fine. podman's own force would wait the stop timeout without ``timeout=0``."""
        params = {"force": "true", "timeout": "0", "v": "true", "ignore": "true"}
        try:
            self._api.call(
                "DELETE", f"/containers/{handle.id}", what="remove container", where=handle.name, params=params
            )
        except Refused as error:
            if error.status != 404:
                raise
        self._roots.pop(handle.name, None)

    def _discard(self, handle: ContainerHandle) -> None:
        """Delete where a result or an error counts more: the labels let housekeeping find what stays."""
        try:
            self._delete(handle)
        except ContainerError as error:
            logger.warning("%s", error)


def _to_its_end(call: Callable[[], Any]) -> Any:
    """What `call` gives or raises. A signal that interrupts us waits for its end, too, for a while.

    podman makes a container although nobody waits for the answer any more, and it cannot be removed before.
    """
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised by `result`
            future.set_exception(error)

    try:
        threading.Thread(target=work, name="create container", daemon=True).start()
        return future.result()
    except BaseException:
        wait([future], _INTERRUPTED_SECONDS)
        raise


def _seconds_of(stamp: str | int) -> float:
    """A time of podman's (RFC 3339 with nanoseconds, or whole seconds) as seconds since the epoch."""
    return datetime.fromisoformat(stamp).timestamp() if isinstance(stamp, str) else float(stamp)
