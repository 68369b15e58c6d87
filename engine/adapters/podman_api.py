"""Requests to podman's REST API: podman-py is the transport, nothing else of it is used.

Its renderer and its `run`, `pull` and `logs` silently lose options, errors and output (podman-facts
sections 1, 2, 7), so the bodies are ours (`engine.core.podman_form`) and every answer is checked here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from podman import PodmanClient
from podman.errors import APIError
from requests.exceptions import ReadTimeout, RequestException
from urllib3.exceptions import HTTPError, ReadTimeoutError

from engine.adapters.podman_service import PodmanService
from engine.core.errors import ContainerError, root_cause
from engine.core.registry import lost_race

logger = logging.getLogger(__name__)

CALL_TIMEOUT = 120.0
"""Seconds for an ordinary call: podman's storage locks can be held by a pull or a big removal."""

PATIENCE = 20.0
"""Seconds to keep trying to reach a service that went away (a restart takes about one)."""

_RACES, _RACE_PAUSE = 5, 0.1
_CRASHED = "runtime error: "
"""What podman's service says instead of `lost_race`'s words where it fell over such a removal."""

_CURES: tuple[tuple[str, str], ...] = (
    ("image not known", "pull it first, or correct the name"),
    ("no such image", "pull it first, or correct the name"),
    ("statfs", "the host path of a mount does not exist; create it or correct the recipe"),
    ("no space left on device", "free space in podman's storage or the workspace"),
    ("executable file not found", "the image has no such command; correct argv or the image"),
    ("no such file or directory", "check command, mounts and log directory of the container"),
    ("permission denied", "the command is not executable for this user"),
    ("unable to find user", "the image has no such user"),
    ("no such secret", "create it with `podman secret create`"),
    ("unknown capability", "correct the capability's name"),
    ("duplicate mount destination", "two mounts have the same target; remove one"),
    ("rlimit", "set default_ulimits in containers.conf below the service's own limits"),
)


class ServiceGone(ContainerError):
    """No answer: the service is not there or went away in the middle of the call."""


class ServiceSlow(ContainerError):
    """No answer in time; whether podman did it is unknown."""


class Refused(ContainerError):
    """podman answered with an error; `status` is the HTTP status (podman uses 500 for nearly everything)."""

    def __init__(self, what: str, where: str, why: str, *, status: int, cure: str = "", retry: bool = False) -> None:
        super().__init__(what, where, why, cure=cure, retry=retry)
        self.status = status


class PodmanApi:
    """Calls to one podman service, safe for threads and across fork; failures are `ContainerError`."""

    def __init__(self, service: PodmanService) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._client: Any = None
        self._client_of: tuple[int, str] | None = None

    def call(
        self,
        method: str,
        path: str,
        *,
        what: str,
        where: str,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | bytes | None = None,
        timeout: float = CALL_TIMEOUT,
        patience: float = PATIENCE,
    ) -> Any:
        """The decoded answer: JSON, else text, None when empty.

        `body` is posted as JSON, bytes as they are. `what` and `where` start the error text (``create container x``).
        A service that went away is started or waited for and asked again for `patience` seconds; give 0 where
        repeating would do harm. What podman could not read for another process's doing (`lost_race`) is read again.
        """
        end = time.monotonic() + patience
        pause, races = 0.05, _RACES if method == "GET" else 0
        while True:
            try:
                return self._once(method, path, what=what, where=where, params=params, body=body, timeout=timeout)
            except ServiceGone as error:
                left = end - time.monotonic()
                if left <= 0:
                    raise
                logger.info("podman went away (%s); asking again", error.why)
                time.sleep(min(pause, left))
                pause = min(pause * 2, 2.0)
            except Refused as error:
                if not races or not (lost_race(error.why) or _CRASHED in error.why):
                    raise
                races -= 1
                time.sleep(_RACE_PAUSE)

    def _once(
        self,
        method: str,
        path: str,
        *,
        what: str,
        where: str,
        params: Mapping[str, Any] | None,
        body: Mapping[str, Any] | bytes | None,
        timeout: float,
    ) -> Any:
        with self._errors(what, where):
            response = self._request(method, path, params, body, timeout, stream=False)
            content: bytes = response.content
        self._check(response.status_code, content, what, where)
        return _decoded(content)

    def stream(
        self, method: str, path: str, *, what: str, where: str, params: Mapping[str, Any], timeout: float
    ) -> Iterator[Any]:
        """The JSON lines of an answer as they come; `timeout` is for the whole stream (`ServiceSlow`)."""
        end = time.monotonic() + timeout
        late = ServiceSlow(what, where, f"not done after {timeout:g} s", retry=True)
        with self._errors(what, where):
            response = self._request(method, path, params, None, timeout, stream=True)
            with contextlib.closing(response):
                if response.status_code >= 400:
                    self._check(response.status_code, response.content, what, where)
                for line in _lines(response, end):
                    if line is None:
                        raise late
                    yield json.loads(line)

    def version(self) -> str:
        """``Libpod-Api-Version`` of the service, e.g. ``4.3.1``."""
        with self._errors("ask the version of", "podman"):
            response = self._request("GET", "/_ping", None, None, CALL_TIMEOUT, stream=False)
        return str(response.headers.get("Libpod-Api-Version", ""))

    def close(self) -> None:
        with self._lock:
            if self._client is not None and self._client_of == (os.getpid(), self._service.url):
                self._client.close()
            self._client = None

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        body: Mapping[str, Any] | bytes | None,
        timeout: float,
        *,
        stream: bool,
    ) -> Any:
        api = self._session()
        keywords: dict[str, Any] = {"params": params, "timeout": timeout, "stream": stream}
        if isinstance(body, bytes):
            keywords["data"] = body
        elif body is not None:
            keywords["data"] = json.dumps(body)
            keywords["headers"] = {"content-type": "application/json"}
        return getattr(api, method.lower())(path, **keywords)

    def _session(self) -> Any:
        """podman-py's session; a new one after fork: two processes must not share a connection."""
        self._service.ensure()
        with self._lock:
            me = (os.getpid(), self._service.url)
            if self._client is None or self._client_of != me:
                self._client = PodmanClient(base_url=self._service.url, max_pool_size=64)
                self._client_of = me
            return self._client.api

    @contextlib.contextmanager
    def _errors(self, what: str, where: str) -> Iterator[None]:
        """Transport failures as ours. podman-py wraps some, not all (podman-facts section 8)."""
        try:
            yield
        except (APIError, RequestException, HTTPError, OSError) as error:
            if _is_timeout(error):
                raise ServiceSlow(what, where, "podman did not answer in time", retry=True) from error
            why = f"no answer from podman at {self._service.url}: {root_cause(error)}"
            raise ServiceGone(what, where, why, cure=self._service.cure, retry=True) from error

    @staticmethod
    def _check(status: int, content: bytes, what: str, where: str) -> None:
        if status < 400:
            return
        try:
            why = str(json.loads(content)["message"])
        except (ValueError, KeyError, TypeError):
            why = content.decode(errors="replace").strip() or f"HTTP status {status}"
        lower = why.lower()
        cure = next((cure for text, cure in _CURES if text in lower), "")
        raise Refused(what, where, why, status=status, cure=cure)


def quoted(name: str) -> str:
    """`name` (of a container or image) as a part of a URL path."""
    return quote(name, safe="/:@")


def _decoded(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except ValueError:  # `mount` of podman 4 answers plain text, of others a JSON string
        return content.decode().strip()


def _lines(response: Any, end: float) -> Iterator[bytes | None]:
    """Lines of a streamed answer; None when `end` (monotonic) has passed."""
    rest = b""
    for chunk in response.iter_content(None):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())
        left = end - time.monotonic()
        if left <= 0:
            yield None
            return
        _set_socket_timeout(response, left)  # so that a silent server is cut at `end`, too
    if rest.strip():
        yield rest


def _set_socket_timeout(response: Any, seconds: float) -> None:
    connection = getattr(response.raw, "connection", None) or getattr(response.raw, "_connection", None)
    if connection is not None and connection.sock is not None:
        connection.sock.settimeout(seconds)


def _is_timeout(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ReadTimeout | ReadTimeoutError | TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False
