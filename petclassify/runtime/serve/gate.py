"""Around every request: who may ask, what is logged and counted.

Decisions:
- On a loopback address only requests for a loopback name are answered, or any page of the
  web could reach this server under a name of its own (DNS rebinding). On others, as within a
  container, every name may be the right one.
- Another site's page may not send photos here: its browser says so in Sec-Fetch-Site, or,
  without TLS, in Origin. Programs send neither. The rule is that of Go's
  http.CrossOriginProtection.
- A request that says its length twice may be another one to a proxy than here: it is refused, and
  what follows it is not read (RFC 9112, section 6.3).
- No CORS header is ever sent, so no other site reads an answer either.
- The log has one JSON object a line, so that no path or name can forge an entry.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from petclassify.runtime.serve.answers import refusal
from petclassify.runtime.serve.intake import RETRY_AFTER
from petclassify.runtime.serve.metrics import Metrics

MAX_LOGGED = 200  # characters of a path
HUNG_UP = 499  # nginx's number for it; nobody receives it

_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_LOOPBACK_ONLY = (
    "this server listens on this machine alone: ask for 127.0.0.1 (of a proxy: in Host), "
    "or start it with --host"
)
_OTHER_SITE = "pages of other sites may not send photos here"
_TWO_LENGTHS = "a request has a Content-Length or a Transfer-Encoding, not both"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_log = logging.getLogger("petclassify.access")
_faults = logging.getLogger("petclassify.serve")


class Gate:
    """The outermost layer of the application."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        routes: Mapping[Any, str],
        unlogged: frozenset[str],
        *,
        loopback_only: bool,
    ) -> None:
        """Wrap an application.

        Args:
            app: what answers.
            metrics: that count.
            routes: the path of each endpoint, as it is counted.
            unlogged: paths that are asked for every few seconds.
            loopback_only: whether the server listens on a loopback address.

        """
        self._app = app
        self._metrics = metrics
        self._routes = routes
        self._unlogged = unlogged
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        start = time.perf_counter()
        status = HUNG_UP
        received = 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), _NO_SNIFFING]
            await send(message)

        try:
            refused = self._refusal(scope)
            await (refused or self._app)(scope, counting_receive, guarded_send)
        except asyncio.CancelledError:  # the server stops, and this took longer than it waits
            if status == HUNG_UP:
                answer = refusal(scope["path"], 503, "stopping", "the server stops", RETRY_AFTER)
                await answer(scope, receive, guarded_send)
        except Exception as error:
            _faults.error("bug in petclassify: %s: %s", type(error).__name__, error)
            _faults.debug("details", exc_info=error)
            if status == HUNG_UP:
                answer = refusal(
                    scope["path"], 500, "bug", "the server failed; its log has the reason"
                )
                await answer(scope, receive, guarded_send)
        finally:
            self._record(scope, status, time.perf_counter() - start, received)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        # Only HTTP/1.0 may leave it out, which health checks speak and browsers do not.
        if self._loopback_only and "host" in headers and not _names_loopback(host):
            return refusal(path, 421, "wrong_host", _LOOPBACK_ONLY)
        if "transfer-encoding" in headers and "content-length" in headers:
            return refusal(path, 400, "two_lengths", _TWO_LENGTHS, {"connection": "close"})
        if scope["method"] not in _SAFE_METHODS and _is_cross_origin(headers, host):
            return refusal(path, 403, "cross_origin", _OTHER_SITE)
        return None

    def _record(self, scope: Scope, status: int, seconds: float, received: int) -> None:
        route = self._routes.get(scope.get("endpoint"), "other")
        self._metrics.count_request(route, status, seconds)
        if route in self._unlogged and status < 500:
            return
        client = scope.get("client")
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": scope["method"],
            "path": scope["path"][:MAX_LOGGED],
            "status": status,
            "ms": round(seconds * 1000, 1),
            "photos": scope.get("state", {}).get("photos", 0),
            "bytes": received,
            "client": client[0] if client else None,
        }
        _log.info("%s", json.dumps(entry))


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine and no other."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _names_loopback(host_header: str) -> bool:
    try:
        return is_loopback(urlsplit(f"//{host_header}").hostname or "")
    except ValueError:
        return False


def _is_cross_origin(headers: Headers, host: str) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != host
