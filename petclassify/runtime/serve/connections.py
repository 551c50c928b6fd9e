"""Connections: how many there may be, and how long one may keep the server waiting.

uvicorn has no limit on the time in which a request's head must arrive or an answer be read,
and its limit on connections refuses health checks long before they are a burden. It lets a
protocol class be given, which is how all three are set here. Bodies have limits of their own,
in `intake`. Nor does uvicorn answer clients that close their side once all is sent, as `nc -N`
and some programs do; here they are answered.

A chunk of a body takes the event loop 13 us, were it of one byte: a few senders of such would
leave it no time for others. So a body may not come in crumbs, nor a head, or what follows a body
in chunks, in very many headers, of which each takes about as long.
"""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10
MAX_HEAD_BYTES = 16 * 2**10  # as in Node.js; cookies of other servers on this machine may be long
MAX_HEAD_LINES = 101  # as in Apache: the request itself and 100 headers
STALLED_SECONDS = 30  # that a client may leave an answer unread
MAX_CONNECTIONS = 4096
BACKLOG = 1024  # connections that wait to be accepted
SMALLEST_CHUNK = 128  # bytes, on average; programs that send a file line by line have twice that
FREE_CHUNKS = 1000  # of any size, that a connection may be ahead
FREE_CHUNKS_OF_A_REQUEST = 10  # which costs the event loop more than they do
_OWN_FILES = 64  # that are open besides connections
_LOOKED_THROUGH = 2**16  # bytes that h11 gets at a time; between two chunks they are copied


def _farewell(status: str, text: str, header: str = "") -> bytes:
    """A whole answer, for connections that the application never sees."""
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\n{header}Content-Type: text/plain"
    return f"{head}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


_TOO_SLOW = _farewell("408 Request Timeout", "the request's head came in too slowly")
_TOO_MANY = _farewell("503 Service Unavailable", "too many connections", "Retry-After: 1\r\n")
_LONG_HEAD = "the request's head is too long, or has too many headers"
_LONG_TRAILER = "too much follows the body"
_HEAD_END = re.compile(rb"\n\r?\n")
_LAST_CHUNK = re.compile(rb"\r?\n?0+(?:[ \t;][^\n]*)?\r\n")  # behind the end of the one before
_IN_CRUMBS = "the body comes in very small chunks; send larger ones"


@dataclass(frozen=True)
class Room:
    """How many connections there may be, and how many the system may keep waiting for that.

    So many are accepted in one go, and those over the limit told so and closed only then: each
    takes an open file. Where there is none, asyncio stops to accept for a second, with a
    traceback for each connection.
    """

    connections: int
    backlog: int


def room_for_connections() -> Room:
    """What this process can hold; its limit of open files is raised if need be."""
    wanted = MAX_CONNECTIONS + BACKLOG + _OWN_FILES
    if sys.platform == "win32":
        return _room_in(wanted)
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _room_in(wanted)
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return _room_in(soft)


def _room_in(files: int) -> Room:
    spare = files - min(_OWN_FILES, files // 2)
    backlog = max(1, spare * BACKLOG // (MAX_CONNECTIONS + BACKLOG))
    return Room(max(1, spare - backlog), backlog)


class _Parser(h11.Connection):
    """h11's, which takes a long head or trailer, or a body in crumbs, for a breach of protocol.

    Attributes:
        breach: what a client is told of it; "" while there is none.

    """

    breach = ""

    def __init__(self) -> None:
        super().__init__(h11.SERVER)
        self._owed = 0  # bytes that the chunks so far are short of
        self._is_between_chunks = False
        self._is_in_trailer = False

    def start_next_cycle(self) -> None:
        super().start_next_cycle()
        self._is_between_chunks = self._is_in_trailer = False
        self._owed = max(0, self._owed - SMALLEST_CHUNK * FREE_CHUNKS_OF_A_REQUEST)

    def next_event(self) -> Any:  # noqa: ANN401  # as h11 types it
        if self.their_state is h11.IDLE and _is_long(self.trailing_data[0]):
            self.breach = _LONG_HEAD
            raise h11.RemoteProtocolError("head too long")
        if self._is_between_chunks and self._has_long_trailer():
            self.breach = _LONG_TRAILER
            raise h11.RemoteProtocolError("trailer too long")
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._is_between_chunks = any(name == b"transfer-encoding" for name, _ in event.headers)
        elif isinstance(event, h11.Data):
            self._is_between_chunks = event.chunk_end
            self._owed += SMALLEST_CHUNK * event.chunk_start - len(event.data)
            self._owed = max(self._owed, 0)
            if self._owed > SMALLEST_CHUNK * FREE_CHUNKS:
                self.breach = _IN_CRUMBS
                raise h11.RemoteProtocolError("chunks too small")
        return event

    def _has_long_trailer(self) -> bool:
        """Whether what is next, between two chunks, is a trailer and long."""
        received = self.trailing_data[0]
        if not self._is_in_trailer and (last := _LAST_CHUNK.match(received)):
            self._is_in_trailer = True  # h11 takes this line away, whether or not more is there
            received = received[last.end() :]
        return self._is_in_trailer and _is_long(b"\n" + received)


def _is_long(received: bytes) -> bool:
    """Whether what begins with a request's head, or some of it, has more of that than may be."""
    end = _HEAD_END.search(received, 0, MAX_HEAD_BYTES)
    head = received[: end.start() if end else MAX_HEAD_BYTES]
    return (end is None and len(received) > MAX_HEAD_BYTES) or head.count(b"\n") >= MAX_HEAD_LINES


class GuardedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which hangs up on those who keep it waiting."""

    max_connections = MAX_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.conn = self._parser = _Parser()
        self._overdue: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._sends_no_more = False
        if len(self.connections) > self.max_connections:
            transport.write(_TOO_MANY)
            transport.close()
        else:
            self._watch_head()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _LOOKED_THROUGH):
            super().data_received(data[start : start + _LOOKED_THROUGH])
        self._watch_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse what breaks the protocol; no request is answered twice."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
        else:
            super().send_400_response(self._parser.breach or msg)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._sends_no_more and not self._is_answering():
            self.transport.close()
        self._watch_head()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection while a whole request of it is being answered."""
        self._sends_no_more = self._is_answering() and not self.cycle.more_body
        return self._sends_no_more

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_watching()
        if self._stalled is not None:
            self._stalled.cancel()

    def _watch_head(self) -> None:
        """Time the connection while no request is being answered.

        That includes what a client still sends of a body after it was refused.
        """
        if self._is_answering() or self.transport.is_closing():
            self._stop_watching()
        elif self._overdue is None:
            self._overdue = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _stop_watching(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _hang_up(self) -> None:
        if self.conn.trailing_data[0]:
            self.transport.write(_TOO_SLOW)
        self.transport.close()


def guarded_protocol(max_connections: int) -> type[Any]:
    """The protocol class with its limit, which uvicorn leaves no other way to pass."""
    return type("Protocol", (GuardedProtocol,), {"max_connections": max_connections})
