"""Stand-ins for podman's service: one stumbles over an image, and then tells of it; one refuses everything."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Self


class _Service:
    """Answers at `socket` with a handler of its own, until its block ends."""

    def __init__(self, socket: Path, handler: type[BaseHTTPRequestHandler]) -> None:
        self.url = f"unix://{socket}"
        self._server = ThreadingUnixStreamServer(str(socket), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def answer(self, status: int, data: object) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Libpod-Api-Version", "4.3.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the client's address is no pair here."""


class StumblingService(_Service):
    """At `socket`: status 500 with `words` for the first `stumbles` questions about images, then one image."""

    def __init__(self, socket: Path, stumbles: int, words: str) -> None:
        self.asked = 0
        service = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                if "/images/" in self.path:
                    service.asked += 1
                    if service.asked <= stumbles:
                        self.answer(500, {"cause": words, "message": words, "response": 500})
                        return
                self.answer(200, {"Id": "2fdc", "Names": []})

        super().__init__(socket, Handler)


class RefusingService(_Service):
    """At `socket`: status 500 to every POST and DELETE but for what is created, with the method's `words`."""

    def __init__(self, socket: Path, words: dict[str, str]) -> None:
        class Handler(_Handler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path.partition("?")[0].endswith("/create"):
                    self.answer(201, {"Id": "2fdc"})
                else:
                    self.answer(500, {"message": words[self.command], "response": 500})

            do_DELETE = do_POST

        super().__init__(socket, Handler)
