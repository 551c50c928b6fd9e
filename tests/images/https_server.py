"""A small https server on this machine, with the faults that real ones have."""

from __future__ import annotations

import http.server
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from petclassify.images import download


@dataclass
class Served:
    """What the server gives, and how it fails; a test sets the fields it needs."""

    root: str
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)  # answered first, one a request
    break_after: list[int] = field(default_factory=list)  # bytes of a body, one a request
    ranges: bool = True
    shift: int = 0  # how far the ranges it gives lie off
    promised: int | None = None  # the length that it claims
    lengths: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range

    def url(self, name: str) -> str:
        return f"{self.root}/{name}"


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Served]:
    """Serve until the test ends, with a certificate that SSL_CERT_FILE makes trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = _Quiet(("localhost", 0), _Handler)
    server.served = Served(f"https://localhost:{server.server_port}")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "_WAITS_S", (0.01, 0.01))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(http.server.ThreadingHTTPServer):
    served: Served

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Quiet

    def do_GET(self) -> None:
        served, name = self.server.served, self.path.removeprefix("/")
        asked = self.headers.get("Range")
        served.asked.append((name, asked))
        if served.statuses:
            self._answer(served.statuses.pop(0), b"")
        elif name in served.redirects:
            self._answer(302, b"", {"Location": served.redirects[name]})
        elif name not in served.files:
            self._answer(404, b"")
        else:
            self._give(served, served.files[name], asked)

    def _give(self, served: Served, content: bytes, asked: str | None) -> None:
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and served.ranges else 0
        if start and start >= len(content):
            self._answer(416, b"")
            return
        if not start:
            self._answer(200, content)
            return
        start += served.shift
        given = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._answer(206, content[start:], {"Content-Range": given})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        served = self.server.served
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if served.lengths:
            self.send_header("Content-Length", str(served.promised or len(body)))
        self.end_headers()
        if body and served.break_after:
            body = body[: served.break_after.pop(0)]
        self.wfile.write(body)

    def log_message(self, *given: object) -> None:
        """Stderr is for what fails."""
