"""An S3 server that lies: it says that it stored an object whole, and keeps less or something else."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Lie = Literal["cut", "changed", "lost", "500"]


@dataclass
class Lying:
    """What the server holds under each name; archives are what it lies about."""

    lie: Lie
    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)

    def section(self, name: str) -> str:
        """Return the lines for rclone.conf."""
        return (
            f"[{name}]\ntype = s3\nprovider = Other\nendpoint = http://127.0.0.1:{self.port}\n"
            "access_key_id = AKIALYINGSERVER\nsecret_access_key = neithertruenorsecret\n"
        )


@contextlib.contextmanager
def lying_server(lie: Lie) -> Iterator[Lying]:
    """Serve until the block ends."""
    state = Lying(lie)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            name = self.path.partition("?")[0]
            if ".tar" in name and lie == "500":
                self._answer(500)
                return
            if ".tar" not in name:
                state.objects[name] = sent
            elif lie == "cut":
                state.objects[name] = sent[:-7]
            elif lie == "changed":
                state.objects[name] = sent[:-1] + bytes([sent[-1] ^ 1])
            self._answer(200, etag=hashlib.md5(sent).hexdigest())

        def do_HEAD(self) -> None:
            held = state.objects.get(self.path.partition("?")[0])
            if held is None:
                self._answer(404)
            else:
                self._answer(200, held, hashlib.md5(held).hexdigest())

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if "list-type" in query or "prefix" in query or "delimiter" in query:
                self._answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
            elif (held := state.objects.get(path)) is None:
                self._answer(404)
            else:
                self._answer(200, held, hashlib.md5(held).hexdigest())

        def do_DELETE(self) -> None:
            state.objects.pop(self.path.partition("?")[0], None)
            self._answer(204)

        def _answer(self, code: int, body: bytes = b"", etag: str = "") -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
            if etag:
                self.send_header("ETag", f'"{etag}"')
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
