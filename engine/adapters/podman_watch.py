"""From started to exited: wait, follow the log, enforce timeout, cancellation and log limit."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from datetime import datetime
from signal import SIGKILL, SIGTERM, Signals
from typing import Any, Literal

from engine.adapters.k8s_log import K8sLog
from engine.adapters.oom import OomWatch
from engine.adapters.podman_api import PodmanApi, Refused, ServiceSlow
from engine.core.errors import ContainerError
from engine.core.manager import Cancelled, LogSink, Outcome
from engine.core.spec import ContainerHandle

ASK_SECONDS = 0.2
"""How often `cancelled` is asked."""

REATTACH_SECONDS = 300.0
"""How long podman's service may be away while a container runs before the wait gives up."""

_REFUSED_SECONDS, _KILLED_SECONDS = 15.0, 60.0
"""How long podman may call a container running after the runtime said it is not, and after SIGKILL."""

_QUICK_SECONDS = 3.0  # so long podman looks at the container every 20 ms, later every 250 ms
_WAIT_SECONDS = 60.0  # one request; bounds what a lost answer costs
_HEAD = 500  # bytes
_PAUSE = 0.05  # between looks at a silent log
_KILL_SECONDS = 1.0  # between two SIGKILLs, should podman have been unable to send one

# podman starts init, and it is init that finds no command: an ordinary exit code with this as the only output.
_INIT_REFUSAL = re.compile(rb"ERROR \(catatonit:\d+\): failed to exec pid1: ([^\n]*)\n")

Reason = Literal["", "timeout", "cancelled", "log"]


class Unseen(ContainerError):
    """A container is over, but podman does not know: conmon, which would have told it, was killed as well."""


class Watch:
    """One wait for one started container; `grace` seconds between SIGTERM and SIGKILL."""

    def __init__(self, api: PodmanApi, handle: ContainerHandle, *, grace: float) -> None:
        self._api = api
        self._handle = handle
        self._grace = grace
        self._kill_at: float | None = None  # monotonic; set once SIGTERM was sent
        self._forced = False
        self._unseen_at = float("inf")  # monotonic; podman should know of the end by then
        self._pid = 0  # of the container's init, while it runs

    def run(
        self,
        *,
        timeout: float | None = None,
        cancelled: Cancelled | None = None,
        output: K8sLog | None = None,
        log: LogSink | None = None,
        log_limit: int | None = None,
    ) -> Outcome:
        """Block until the container has exited. Whatever `log` or `cancelled` raise comes out of here.

        Unseen when it was stopped and podman goes on calling it running.
        """
        begin = time.monotonic()
        tap = _Tap(self._handle.name, output, log, log_limit)
        reasons = _Reasons(None if timeout is None else begin + timeout, cancelled, tap)
        reason: Reason = ""
        with _Waiter(self._api, self._handle) as waiter, OomWatch(self._cgroup()) as oom:
            pause = 0.0
            while not waiter.finished.wait(pause):
                pause = 0.0 if tap.pump() else _PAUSE
                oom.look()
                reason = reason or reasons.now()
                self._press(reason, at_once=tap.exceeded)
            state = waiter.state()
            while tap.pump():
                pass
            code = int(state["ExitCode"])
            if code and (refusal := _INIT_REFUSAL.fullmatch(tap.head)):
                raise ContainerError(
                    "start container",
                    self._handle.name,
                    f"cannot execute its command: {refusal[1].decode(errors='replace')}",
                    cure="the image has no such command, or it is not executable for this user",
                )
            return Outcome(
                exit_code=code,
                signal=_signal_of(code),
                oom=oom.finish(failed=code != 0) or bool(state.get("OOMKilled")),
                timed_out=reason == "timeout",
                cancelled=reason == "cancelled",
                log_exceeded=tap.exceeded,
                forced=self._forced,
                seconds=_seconds(state, time.monotonic() - begin),
                log_bytes=tap.seen,
            )

    def _press(self, reason: Reason, *, at_once: bool) -> None:
        """SIGTERM when there is a reason to stop, SIGKILL `grace` later, or at once, until it has ended."""
        now = time.monotonic()
        if now >= self._unseen_at:
            raise Unseen("stop container", self._handle.name, "podman does not see its end; was its conmon killed?")
        if not reason:
            return
        if (at_once and not self._forced) or (self._kill_at is not None and now >= self._kill_at):
            self._forced = True
            self._kill_at = now + _KILL_SECONDS
            self._kill(SIGKILL)
        elif self._kill_at is None:
            self._kill_at = now + self._grace
            self._kill(SIGTERM)

    def _kill(self, number: Signals) -> None:
        patience = _KILLED_SECONDS if number is SIGKILL else float("inf")
        try:
            self._api.call(
                "POST",
                f"/containers/{self._handle.id}/kill",
                what="stop container",
                where=self._handle.name,
                params={"signal": number.name},
            )
        except Refused:
            if not _is_init(self._pid):  # it ended meanwhile: the waiter will say so
                patience = _REFUSED_SECONDS
            elif number is SIGKILL:  # podman can start no runtime to do it
                with contextlib.suppress(OSError):  # rootless, the process may be of a subordinate id
                    os.kill(self._pid, SIGKILL)
        self._unseen_at = min(self._unseen_at, time.monotonic() + patience)

    def _cgroup(self) -> str:
        """The container's own cgroup; "" where it has none and podman names the one it is in with others."""
        state = _state(self._api, self._handle)
        self._pid = int(state.get("Pid") or 0)
        path = str(state.get("CgroupPath") or "")
        return path if self._handle.id in path else ""


class _Reasons:
    """Why to stop a container now. The log comes first: it fills a disk."""

    def __init__(self, deadline: float | None, cancelled: Cancelled | None, tap: _Tap) -> None:
        self._deadline = deadline
        self._cancelled = cancelled
        self._tap = tap
        self._ask_at = 0.0

    def now(self) -> Reason:
        now = time.monotonic()
        if self._tap.exceeded:
            return "log"
        if self._deadline is not None and now >= self._deadline:
            return "timeout"
        if self._cancelled is not None and now >= self._ask_at:
            self._ask_at = now + ASK_SECONDS
            if self._cancelled():
                return "cancelled"
        return ""


class _Tap:
    """Moves output from the log file to the sink, up to `limit` bytes; counts what it `seen`."""

    def __init__(self, name: str, output: K8sLog | None, sink: LogSink | None, limit: int | None) -> None:
        self._name = name
        self._output = output
        self._sink = sink
        self._limit = limit
        self.seen = 0
        self.head = b""  # the first output, enough to recognise init's complaint
        self.exceeded = False

    def pump(self) -> bool:
        """Move one chunk; False when there is nothing to move now."""
        if self._output is None or self.exceeded:
            return False
        try:
            chunk = self._output.read()
        except OSError as error:
            cure = "podman's service must run as the same user as the engine"
            raise ContainerError("read the log of container", self._name, str(error), cure=cure) from None
        if self._limit is not None and self.seen + len(chunk) > self._limit:
            self.exceeded = True
            chunk = chunk[: self._limit - self.seen]
        self.seen += len(chunk)
        if len(self.head) <= _HEAD:
            self.head += chunk[: _HEAD + 1]
        if chunk and self._sink is not None:
            self._sink(chunk)
        return bool(chunk)


class _Waiter:
    """Waits for the exit in a thread of its own, because podman's answer blocks; `finished` is set at its end.

    Leaving the context without an exit (an exception in the caller) lets the thread end by itself.
    """

    def __init__(self, api: PodmanApi, handle: ContainerHandle) -> None:
        # Not a Thread itself: our `_handle` would hide one that threads have since Python 3.13.
        self._thread = threading.Thread(target=self._run, name=f"wait for {handle.name}", daemon=True)
        self.finished = threading.Event()
        self._api = api
        self._handle = handle
        self._abandoned = False
        self._result: dict[str, Any] | BaseException | None = None

    def __enter__(self) -> _Waiter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._abandoned = True

    def _run(self) -> None:
        try:
            self._result = self._until_exited()
        except BaseException as error:  # shown by state(), in the caller's thread
            self._result = error
        finally:
            self.finished.set()

    def state(self) -> dict[str, Any]:
        """podman's ``State`` of the exited container; raises what the wait raised."""
        if isinstance(self._result, BaseException):
            raise self._result
        return self._result or {}

    def _until_exited(self) -> dict[str, Any]:
        begin = time.monotonic()
        while not self._abandoned:
            quick = time.monotonic() - begin < _QUICK_SECONDS
            try:
                self._wait("20ms" if quick else "250ms", _QUICK_SECONDS if quick else _WAIT_SECONDS)
                state = _state(self._api, self._handle)
            except ServiceSlow:
                continue
            except Refused as error:
                if error.status == 404:
                    raise ContainerError("wait for container", self._handle.name, "someone removed it") from None
                raise
            if state["Status"] == "exited":
                return state
            if state["Status"] in ("created", "configured", "initialized"):
                # podman's wait answers 0 here, which would look like success.
                raise ContainerError("wait for container", self._handle.name, "it was never started")
            time.sleep(0.01)  # "stopped": podman still cleans up
        return {}

    def _wait(self, interval: str, timeout: float) -> None:
        self._api.call(
            "POST",
            f"/containers/{self._handle.id}/wait",
            what="wait for container",
            where=self._handle.name,
            params={"condition": ["exited", "stopped"], "interval": interval},
            timeout=timeout,
            patience=REATTACH_SECONDS,
        )


def _state(api: PodmanApi, handle: ContainerHandle) -> dict[str, Any]:
    answer = api.call("GET", f"/containers/{handle.id}/json", what="look at container", where=handle.name)
    return dict(answer["State"])


def _is_init(pid: int) -> bool:
    """Whether the process is still the first one of a PID namespace, and not another one by the same number."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            words = next((line.split() for line in file if line.startswith("NSpid:")), [])
    except OSError:
        return False
    return len(words) > 2 and words[-1] == "1"


def _signal_of(code: int) -> int | None:
    """The signal that an exit code above 128 stands for, if there is such a signal."""
    return code - 128 if code - 128 in Signals._value2member_map_ else None


def _seconds(state: dict[str, Any], elapsed: float) -> float:
    """Run time by podman's clock (it also knows what ran before we were attached)."""
    try:
        began, ended = (datetime.fromisoformat(state[key]) for key in ("StartedAt", "FinishedAt"))
    except (KeyError, TypeError, ValueError):
        return elapsed
    return max(0.0, (ended - began).total_seconds())
