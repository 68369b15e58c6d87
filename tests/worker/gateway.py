"""Between a worker and a live hub: every call is passed on and written down, and the line can be disturbed.

A hub that is somebody else's shows no call log and is not restarted for a test. What a worker sees of a bad network
can be had without: the line to the hub is ours.
"""

from __future__ import annotations

import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import koji
import requests
from koji.xmlrpcplus import Fault, dumps, loads

from tests.hub import CallRecord
from tests.hub.server import LostAnswers, Server
from tests.ports import own_port

PATH = "/kojihub"
_NOT_PASSED_ON = {"host", "connection", "content-length", "accept-encoding", "transfer-encoding"}


class Gateway:
    """Listens on 127.0.0.1 and passes calls and raw uploads on to the hub at `target`, trusting `serverca`.

    The names are those of the stand-in: `call_log`, `calls`, `forget_calls`, `network_outage`, `slow_answers`,
    `lose_answers`, `offline`. Times are this machine's. A call of an outage is not seen by the hub and not in the log.
    """

    def __init__(self, target: str, serverca: str | None = None) -> None:
        self.target, self.serverca = target, serverca
        self.port = 0
        self.delay = 0.0
        self.slow_since: tuple[str, float] | None = None
        self.lost = LostAnswers()
        self.offline_text: str | None = None
        self._log: list[CallRecord] = []
        self._names: dict[int, str] = {}
        self._lock = threading.Lock()
        self._on_the_way: set[object] = set()
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def open(self) -> None:
        handler = type("BoundPassing", (_Passing,), {"gateway": self})
        self.port = self.port or own_port()
        self._server = Server(("127.0.0.1", self.port), handler, None)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut_connections()

    # -- the line

    @contextmanager
    def network_outage(self) -> Iterator[None]:
        self.close()
        try:
            yield
        finally:
            self.open()

    def restart(self) -> None:
        self.close()
        self.open()

    def slow_answers(self, seconds: float, since: str = "") -> None:
        self.slow_since = (since, seconds) if since else None
        if not since:
            self.delay = seconds

    def lose_answers(self, method: str | None = None, count: int = 1) -> None:
        self.lost.add(method, count)

    def offline(self, on: bool = True, text: str = "planned outage") -> None:
        self.offline_text = text if on else None

    # -- the log

    @property
    def call_log(self) -> list[CallRecord]:
        """With the calls that are on their way now: what the hub shows of them may have been seen already."""
        with self._lock:
            waited_for = set(self._on_the_way)
        deadline = time.monotonic() + 5
        while waited_for & self._on_the_way and time.monotonic() < deadline:
            time.sleep(0.01)
        with self._lock:
            return list(self._log)

    @contextmanager
    def on_the_way(self) -> Iterator[None]:
        call = object()
        with self._lock:
            self._on_the_way.add(call)
        try:
            yield
        finally:
            with self._lock:
                self._on_the_way.discard(call)

    def calls(self, method: str | None = None, who: str | None = None) -> list[CallRecord]:
        return [each for each in self.call_log if method in (None, each.method) and who in (None, each.who)]

    def forget_calls(self) -> None:
        with self._lock:
            self._log.clear()

    def note(self, headers: Any, method: str, params: tuple[Any, ...], began: float, answer: bytes) -> None:
        """Write a call down with what the hub answered."""
        result, fault = None, None
        try:
            (result,), _method = loads(answer)
        except Fault as error:
            fault = error
        args, kwargs = koji.decode_args(*params)
        number, callnum = headers.get("Koji-Session-Id"), headers.get("Koji-Session-Callnum")
        session = None if number is None else int(number)
        with self._lock:
            if method == "login" and fault is None:
                self._names[result["session-id"]] = args[0]
            elif method == "subsession" and fault is None and session is not None:
                self._names[result["session-id"]] = f"{self._names.get(session)}/sub"
            self._log.append(
                CallRecord(
                    time=time.time(),
                    seconds=time.time() - began,
                    who=None if session is None else self._names.get(session),
                    session_id=session,
                    callnum=None if callnum is None else int(callnum),
                    method=method,
                    args=tuple(args),
                    kwargs=kwargs,
                    result=result,
                    fault_code=fault.faultCode if fault else None,
                    fault_text=fault.faultString if fault else None,
                )
            )


class _Passing(BaseHTTPRequestHandler):
    gateway: Gateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 3600

    def log_message(self, format: str, *args: Any) -> None:
        """The call log says more."""

    def do_POST(self) -> None:
        gateway, url = self.gateway, urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length or not url.path.startswith(PATH):
            self.close_connection = True
            return
        method, params = _call(url.query, body)
        if gateway.offline_text is not None:
            status, kind, answer = 200, "text/xml", dumps(Fault(1014, gateway.offline_text)).encode()
        else:
            began = time.time()
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
            address = gateway.target + url.path.removeprefix(PATH) + (f"?{url.query}" if url.query else "")
            with gateway.on_the_way():
                passed = requests.post(
                    address, data=body, headers=headers, timeout=300, verify=gateway.serverca or True
                )
                status, kind = passed.status_code, passed.headers.get("Content-Type", "text/xml")
                answer = passed.content
                if status == 200:
                    gateway.note(self.headers, method, params, began, answer)
        since = gateway.slow_since
        if since is not None and since[0] == method:
            gateway.slow_since, gateway.delay = None, since[1]
        if gateway.lost.take(method):
            self.close_connection = True
            return
        if gateway.delay:
            threading.Event().wait(gateway.delay)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def _call(query: str, body: bytes) -> tuple[str, tuple[Any, ...]]:
    """Name and parameters; a raw upload's are those that the stand-in's log gives it."""
    asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    if "filename" not in asked:
        params, method = loads(body)
        return str(method), tuple(params)
    overwrite = asked.get("overwrite") in {"1", "True", "true"}
    details = {"offset": int(asked.get("offset") or 0), "overwrite": overwrite, "size": len(body), "__starstar": True}
    return "rawUpload", (asked.get("filepath", ""), asked["filename"], details)
