"""The HTTP side: XML-RPC and raw uploads on /kojihub, the file tree read-only on /kojifiles.

Connections stay open as on a real hub, so `close` also cuts those that are idle.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import koji
from attrs import define, evolve, field
from koji.xmlrpcplus import Fault, dumps, loads

from tests.ports import own_port

from . import static_files, uploads
from .certificates import common_name
from .dispatch import Credentials, Dispatcher
from .exports.logins import HUB_VERSION
from .faults import as_fault
from .tickets import TicketCheck

__all__ = ["HubServer", "LostAnswers", "WrongAnswers"]

HUB_PATH, FILES_PATH = "/kojihub", "/kojifiles"
LOGIN_PATH = HUB_PATH + "/ssllogin"


@define
class LostAnswers:
    """Calls that are carried out but whose answer never leaves the hub."""

    lock: threading.Lock = field(factory=threading.Lock)
    wanted: list[str | None] = field(factory=list)  #: one entry per answer to lose; None: any method

    def add(self, method: str | None, count: int) -> None:
        with self.lock:
            self.wanted += [method] * count

    def take(self, method: str) -> bool:
        with self.lock:
            for entry in (method, None):
                if entry in self.wanted:
                    self.wanted.remove(entry)
                    return True
        return False


class _Instead(Exception):
    """This answer instead of the call's own."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer


@define
class WrongAnswers:
    """Calls that are not carried out, and what is answered instead: a value, a Fault, or the web server's status."""

    lock: threading.Lock = field(factory=threading.Lock)
    wanted: list[tuple[str, Any]] = field(factory=list)

    def add(self, method: str, answer: Any, count: int) -> None:
        with self.lock:
            self.wanted += [(method, answer)] * count

    def meet(self, method: str) -> None:
        with self.lock:
            for index, (name, answer) in enumerate(self.wanted):
                if name == method:
                    del self.wanted[index]
                    raise _Instead(answer)


class HubServer:
    """Listens on 127.0.0.1; `open` and `close` may alternate, the port stays."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        tickets: TicketCheck | None = None,
    ) -> None:
        self.dispatcher = dispatcher
        self.lost = LostAnswers()
        self.wrong = WrongAnswers()
        self.port = port
        self.tls = tls
        self.tickets = tickets  #: for logins by Kerberos
        self.delay = 0.0  #: seconds every answer waits before it leaves
        self.slow_since: tuple[str, float] | None = None  #: a method, whose next call makes these seconds the delay
        self._server: Server | None = None

    @property
    def is_open(self) -> bool:
        return self._server is not None

    def open(self) -> None:
        if self._server is None:
            self.port = self.port or own_port()
            self._server = Server(("127.0.0.1", self.port), _bound(self), self.tls)
            threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Stop listening and cut every connection; calls being carried out end, their answers are lost."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut_connections()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler], tls: ssl.SSLContext | None
    ) -> None:
        self._tls = tls
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self._tls is not None:  # shakes hands at the first read, in the connection's own thread
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to report."""

    def cut_connections(self) -> None:
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _bound(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    return type("BoundRequest", (_Request,), {"hub": hub})


class _Request(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 3600

    def log_message(self, format: str, *args: Any) -> None:
        """The call log says more."""

    def do_POST(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if url.path not in (HUB_PATH, LOGIN_PATH):
            self.send_error(404)
            return
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        remote_user = self._remote_user() if url.path == LOGIN_PATH else None
        if url.path == LOGIN_PATH and remote_user is None and self.hub.tickets is not None:
            self._ask_for_ticket()
            return
        raw = "filename" in query or self.headers.get("Content-Type") == "application/octet-stream"
        method = "rawUpload"
        try:
            if raw:
                answer = self._upload(query, body)
            else:
                method, answer = self._call(query, body, remote_user)
            text = dumps((answer,), methodresponse=1, allow_none=1)
        except _Instead as instead:
            if isinstance(instead.answer, HTTPStatus):
                self.send_error(instead.answer)
                return
            fault = isinstance(instead.answer, Fault)
            text = dumps(instead.answer if fault else (instead.answer,), methodresponse=1, allow_none=1)
        except Fault as fault:
            text = dumps(fault)
        except Exception as error:  # noqa: BLE001 (a request no call could be made of)
            text = dumps(as_fault(error))
        if self.hub.lost.take(method):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        since = self.hub.slow_since
        if since is not None and since[0] == method:
            self.hub.slow_since, self.hub.delay = None, since[1]
        if self.hub.delay:
            threading.Event().wait(self.hub.delay)
        self._answer(text.encode())

    def _remote_user(self) -> str | None:
        """Who logs in, by the client's certificate or by a Kerberos ticket."""
        name = common_name(self.connection)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if name is None and self.hub.tickets is not None and scheme == "Negotiate":
            return self.hub.tickets.principal_of(token)
        return name

    def _ask_for_ticket(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Negotiate")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _call(self, query: dict[str, str], body: bytes, remote_user: str | None) -> tuple[str, Any]:
        if len(body) > self.hub.dispatcher.db.settings.max_request_length:
            msg = "Request too long"
            raise koji.GenericError(msg)
        params, method = loads(body)
        name = str(method)
        self.hub.wrong.meet(name)
        return name, self.hub.dispatcher.call(evolve(self._credentials(query), remote_user=remote_user), name, params)

    def _upload(self, query: dict[str, str], body: bytes) -> Any:
        self.hub.wrong.meet("rawUpload")
        path, name = query.get("filepath", ""), query.get("filename", "")
        offset, overwrite = int(query.get("offset") or 0), query.get("overwrite") in {"1", "True", "true"}
        details = {"offset": offset, "overwrite": overwrite, "size": len(body)}
        return self.hub.dispatcher.run(
            self._credentials(query),
            "rawUpload",
            (path, name),
            details,
            lambda caller: uploads.store_raw(
                caller,
                path=path,
                name=name,
                data=body,
                verify=query.get("fileverify", ""),
                offset=offset,
                overwrite=overwrite,
                volume=query.get("volume"),
            ),
        )

    def _credentials(self, query: dict[str, str]) -> Credentials:
        head = self.headers
        number = head.get("Koji-Session-Id") or query.get("session-id")
        if number is None:
            return Credentials()
        callnum = head.get("Koji-Session-Callnum") or query.get("callnum")
        key = head.get("Koji-Session-Key") or query.get("session-key")
        return Credentials(int(number), key, None if callnum is None else int(callnum))

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Koji-Version", HUB_VERSION)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._send_file(body=True)

    def do_HEAD(self) -> None:
        self._send_file(body=False)

    def _send_file(self, *, body: bool) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if not path.startswith(FILES_PATH + "/"):
            self.send_error(404)
            return
        top = self.hub.dispatcher.db.topdir
        static_files.send(self, top, path.removeprefix(FILES_PATH + "/"), body=body)
