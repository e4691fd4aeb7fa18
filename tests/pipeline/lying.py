"""An S3 server that lies: it says that it stored an object whole, and keeps less or something else."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from tests.servers import S3Server

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


@dataclass
class LyingFront:
    """Stands before an S3 server, and gives back other bytes than it was given; size and checksums are those sent.

    It lies about archives that come while there is a ``lie``. ``asked`` is every request: method and path.
    """

    server: S3Server
    lie: Literal["", "cut", "changed"] = ""
    port: int = 0
    lied: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def section(self) -> str:
        """Return the lines for rclone.conf of a remote called ``liar``."""
        return self.server.section("liar").replace(f":{self.server.port}\n", f":{self.port}\n")

    def read(self) -> list[str]:
        """Return the archives that were read, and forget all requests."""
        paths = [path.partition("?")[0] for method, path in self.asked if method == "GET"]
        self.asked.clear()
        return [it.rpartition("/")[2] for it in paths if ".tar" in it]

    def given(self, path: str, body: bytes) -> bytes:
        """Return what it gives of an object."""
        if path not in self.lied:
            return body
        return body[:-7] if self.lie == "cut" else body[:-1] + bytes([body[-1] ^ 1])


@contextlib.contextmanager
def lying_front(server: S3Server) -> Iterator[LyingFront]:
    """Serve until the block ends."""
    front = LyingFront(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            front.asked.append((self.command, self.path))
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in {"connection", "expect"}}
            upstream.request(self.command, self.path, body, headers)
            got = upstream.getresponse()
            answer = got.read()
            if self.command == "PUT" and ".tar" in path and front.lie:
                front.lied.add(path)
            if self.command == "GET":
                answer = front.given(path, answer)
            self.send_response(got.status)
            for key, value in got.headers.items():
                if key.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(key, value)
            told = got.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(answer))
            self.send_header("Content-Length", told)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)
            upstream.close()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that it has there
            """Say nothing."""

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = forward

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.daemon_threads = True
    front.port = served.server_address[1]
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    try:
        yield front
    finally:
        served.shutdown()
        served.server_close()
        thread.join()
