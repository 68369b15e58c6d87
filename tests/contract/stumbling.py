"""Stand-ins for podman's service: one stumbles over an image, and then tells of it; one refuses everything."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Self


class StumblingService:
    """At `socket`: status 500 with `words` for the first `stumbles` questions about images, then one image."""

    def __init__(self, socket: Path, stumbles: int, words: str) -> None:
        self.url, self.asked = f"unix://{socket}", 0
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, answer = 200, {"Id": "2fdc", "Names": []}
                if "/images/" in self.path:
                    service.asked += 1
                    if service.asked <= stumbles:
                        status, answer = 500, {"cause": words, "message": words, "response": 500}
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Libpod-Api-Version", "4.3.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the client's address is no pair here."""

        self._serve(socket, Handler)

    def _serve(self, socket: Path, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingUnixStreamServer(str(socket), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class RefusingService(StumblingService):
    """At `socket`: status 500 to every POST and DELETE but for what is created, with the method's `words`."""

    def __init__(self, socket: Path, words: dict[str, str]) -> None:
        self.url = f"unix://{socket}"

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                made = self.path.partition("?")[0].endswith("/create")
                answer = {"Id": "2fdc"} if made else {"message": words[self.command], "response": 500}
                body = json.dumps(answer).encode()
                self.send_response(201 if made else 500)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_DELETE = do_POST

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the client's address is no pair here."""

        self._serve(socket, Handler)
