"""A request's body, from the wire into memory, within limits.

Decisions:
- A body is held whole: a photo is decoded from its bytes anyway, and nothing touches the disk.
- All bodies together may hold `MAX_HELD_BYTES`, counted as the bytes arrive, so that a
  thousand large uploads at once cost no more memory than some, and a client cannot reserve
  room by what it merely announces. (Parts of a multipart body are held once more while they
  wait.)
- A body must start within `BODY_SECONDS` and keep up `SLOWEST_BYTES_PER_SECOND` after that, as
  in Apache's mod_reqtimeout. A phone on a poor line may take long; a slow loris may not.
- Multipart is parsed by python-multipart itself. Starlette's form parser takes a part
  without a file name for text, and spools large files to disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

MAX_BODY_BYTES = 10 * 2**20
MAX_PHOTOS = 64  # in one request
MAX_HELD_BYTES = 128 * 2**20
BODY_SECONDS = 10
SLOWEST_BYTES_PER_SECOND = 64 * 2**10
RETRY_AFTER = {"retry-after": "1"}


class Refusal(Exception):
    """A request that is answered with a status other than 200.

    Attributes:
        status: of HTTP.
        kind: one word for programs.
        message: one sentence for people.
        headers: to send with it.

    """

    def __init__(
        self, status: int, kind: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.headers = headers or {}


class HeldBytes:
    """How much memory all bodies together hold."""

    def __init__(self, most: int = MAX_HELD_BYTES) -> None:
        self.held = 0
        self._most = most

    def take(self, count: int) -> None:
        """Make room for more bytes.

        Raises:
            Refusal: there is none.

        """
        if self.held + count > self._most:
            raise Refusal(503, "busy", "too many uploads at once; try again", RETRY_AFTER)
        self.held += count

    def give_back(self, count: int) -> None:
        """Bytes are no longer held."""
        self.held -= count


@asynccontextmanager
async def body_of(
    request: Request, memory: HeldBytes, max_bytes: int = MAX_BODY_BYTES
) -> AsyncIterator[bytes]:
    """Read a request's body; it counts as held until the block ends.

    Raises:
        Refusal: it is compressed, too large, too slow, or there is no memory for it now.
        ClientDisconnect: the sender hung up.

    """
    encoding = request.headers.get("content-encoding") or "identity"
    if encoding.lower() != "identity":  # a bomb may be in it, and photos are compressed already
        raise Refusal(415, "encoded_body", f"the body is {encoding}; send it without that encoding")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    held = 0
    start = asyncio.get_running_loop().time()
    try:
        try:
            async with asyncio.timeout(BODY_SECONDS) as deadline:
                async for chunk in request.stream():
                    if held + len(chunk) > max_bytes:
                        raise _too_large(max_bytes)
                    memory.take(len(chunk))
                    held += len(chunk)
                    chunks.append(chunk)
                    deadline.reschedule(start + BODY_SECONDS + held / SLOWEST_BYTES_PER_SECOND)
        except TimeoutError:
            raise Refusal(
                408, "too_slow", "the request did not arrive in time", {"connection": "close"}
            ) from None
        body = b"".join(chunks)
        chunks.clear()
        yield body
    finally:
        memory.give_back(held)


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(413, "body_too_large", f"the request is larger than {max_bytes // 2**20} MiB")


@dataclass(frozen=True)
class Part:
    """One part of a multipart body: the file name it gave, else the field's, and its bytes."""

    name: str
    content: bytes


def is_multipart(content_type: str) -> bool:
    """Whether a content type announces parts."""
    return parse_options_header(content_type)[0].startswith(b"multipart/")


def split_parts(content_type: str, body: bytes) -> list[Part]:
    """Split a multipart body. Names that are not UTF-8 keep their bytes as surrogates.

    Raises:
        Refusal: it is broken, empty, or has too many parts.

    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _broken("its content type names no boundary")
    collector = _PartCollector()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.begin,
                "on_header_field": collector.add_field,
                "on_header_value": collector.add_value,
                "on_header_end": collector.end_header,
                "on_part_data": collector.add_data,
                "on_part_end": collector.end,
                "on_end": collector.finish,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _broken(str(error)) from error
    if not collector.finished:
        raise _broken("it ends too early")
    if not collector.parts:
        raise _broken("it holds no parts")
    return collector.parts


def _broken(why: str) -> Refusal:
    return Refusal(400, "broken_multipart", f"the multipart body cannot be read: {why}")


class _PartCollector:
    """What the parser calls as it goes through a body."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.finished = False
        self.begin()

    def begin(self) -> None:
        if len(self.parts) >= MAX_PHOTOS:
            raise Refusal(
                413, "too_many_photos", f"more than {MAX_PHOTOS} photos in one request; send fewer"
            )
        self._field = bytearray()
        self._value = bytearray()
        self._disposition = ""
        self._content = bytearray()

    def add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")
        self._field.clear()
        self._value.clear()

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def end(self) -> None:
        options = parse_options_header(self._disposition)[1]
        name = options.get(b"filename", options.get(b"name", b""))
        self.parts.append(Part(name.decode("utf-8", "surrogateescape"), bytes(self._content)))

    def finish(self) -> None:
        self.finished = True
