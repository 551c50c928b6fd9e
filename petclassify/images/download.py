"""Fetching one pinned file over https, going on where a broken download stopped.

pooch, the design's choice for checksummed downloads, starts at zero after every break, and
the sets to fetch reach 800 MB. With resuming on top of it little of it would remain, so
this is urllib: one Range request, and a SHA-256 over all that arrived.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import IO

from petclassify.errors import EnvironmentFault
from petclassify.files import disk_faults_named
from petclassify.images.digests import digest_file

BytesDone = Callable[[int], object]

_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 30
_WAITS_S = (0.5, 1.0, 2.0)  # between attempts that brought nothing new
_PASSING = {408, 429, 500, 502, 503, 504}
_RANGE_REFUSED = 416


class _Dropped(Exception):
    """The connection broke. What arrived before is in the part file."""


def download(
    url: str, sha256: str, path: Path, max_bytes: int, advance: BytesDone | None = None
) -> None:
    """Fetch a file, whole and with the right sum, or not at all.

    What is there already is used: the file itself without any request, and of `NAME.part`
    beside it the bytes that an earlier attempt left. The certificates that are trusted are
    the system's, or those that the environment variable SSL_CERT_FILE names.

    Args:
        url: https, and every address that it redirects to as well.
        sha256: of the whole file, in hex.
        path: where the file appears.
        max_bytes: never more is written.
        advance: is told how many bytes of the file are there.

    Raises:
        EnvironmentFault: the network, the server, the sum or the disk. A broken download is
            kept for the next attempt; one with a wrong sum is deleted.

    """
    if digest_file(path) == sha256:
        return
    part = path.with_name(f"{path.name}.part")
    with disk_faults_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if digest_file(part) != sha256:
            _receive(url, part, max_bytes, advance)
        found = digest_file(part)
        if found != sha256:
            part.unlink(missing_ok=True)
            raise EnvironmentFault(
                f"{url}: arrived with SHA-256 {found}, expected {sha256}, and was deleted. Run "
                f"the command again; if it stays so, put the right file at {path} yourself"
            )
        os.replace(part, path)


def _receive(url: str, part: Path, max_bytes: int, advance: BytesDone | None) -> None:
    """Ask again after a break, and give up only when attempts in a row bring nothing new."""
    furthest, waits = _size(part), iter(_WAITS_S)
    while True:
        try:
            _receive_rest(url, part, max_bytes, advance)
        except _Dropped as dropped:
            reached = _size(part)
            if reached > furthest:
                furthest, waits = reached, iter(_WAITS_S)
            wait = next(waits, None)
            if wait is None:
                raise EnvironmentFault(
                    f"{url}: no more arrives ({dropped}); {reached} bytes are kept. Run the "
                    "command again to go on from there"
                ) from dropped
            time.sleep(wait)
        else:
            return


def _receive_rest(url: str, part: Path, max_bytes: int, advance: BytesDone | None) -> None:
    start = _size(part)
    with _request(url, start) as response:
        done = start if response.status == http.client.PARTIAL_CONTENT else 0
        try:
            with part.open("ab" if done else "wb") as stream:
                for chunk in _chunks(response, max_bytes - done, url):
                    stream.write(chunk)
                    done += len(chunk)
                    if advance is not None:
                        advance(done)
                stream.flush()
                os.fsync(stream.fileno())
        except (OSError, EnvironmentFault):
            part.unlink(missing_ok=True)
            raise


def _chunks(response: http.client.HTTPResponse, allowed_bytes: int, url: str) -> Iterator[bytes]:
    """Read a body to the end that its header promised; never give more than allowed."""
    left = response.length
    while left is None or left > 0:
        if left is not None and left > allowed_bytes:
            raise _too_much(url)
        try:
            chunk = response.read1(min(_CHUNK_BYTES, left or _CHUNK_BYTES))
        except (OSError, http.client.HTTPException) as error:
            raise _Dropped(_in_words(error)) from error
        if not chunk and left:
            raise _Dropped("the connection was closed too early")
        if not chunk:
            return
        if len(chunk) > allowed_bytes:
            raise _too_much(url)
        yield chunk
        allowed_bytes -= len(chunk)
        left = None if left is None else left - len(chunk)


def _request(url: str, start: int) -> http.client.HTTPResponse:
    """Ask for what follows the first `start` bytes, or for all where a server cannot do that."""
    _require_https(url)
    headers = {"User-Agent": "petclassify"} | ({"Range": f"bytes={start}-"} if start else {})
    opener = urllib.request.build_opener(_secure(), _HttpsRedirects)
    try:
        asked = urllib.request.Request(url, headers=headers)
        response: http.client.HTTPResponse = opener.open(asked, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        said = str(error.reason).partition("\n")[0].rstrip(".")  # of a loop, urllib says more
        with error:
            if start and error.code == _RANGE_REFUSED:
                return _request(url, 0)
            if error.code in _PASSING:
                raise _Dropped(f"the server answered {error.code} {said}") from error
            raise EnvironmentFault(
                f"{url}: the server answered {error.code} {said}. Try again later, or fetch the "
                "file yourself"
            ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, socket.gaierror | ssl.SSLCertVerificationError):
            raise EnvironmentFault(
                f"{url}: cannot be reached ({_in_words(reason)}). Check the network, and for "
                "certificates of your own the variable SSL_CERT_FILE"
            ) from error
        raise _Dropped(_in_words(reason)) from error
    except ValueError as error:  # of an address that the server or the environment names
        raise EnvironmentFault(
            f"{url}: cannot be reached ({_in_words(error)}). Check the network, and the variable "
            "https_proxy"
        ) from error
    if start and response.status == http.client.PARTIAL_CONTENT:
        given = response.headers.get("Content-Range", "")
        if not re.match(rf"bytes {start}-\d", given):
            response.close()
            return _request(url, 0)
    return response


def _secure() -> urllib.request.HTTPSHandler:
    """Made for each request: the environment may name other certificates now than before."""
    try:
        return urllib.request.HTTPSHandler(context=ssl.create_default_context())
    except OSError as error:
        raise EnvironmentFault(
            f"{error.filename}: cannot be used for https ({_in_words(error)}). Check the variable "
            "SSLKEYLOGFILE"
        ) from error


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never out of https."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _require_https(newurl, f", where {req.full_url} leads,")
        except EnvironmentFault:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _require_https(url: str, whence: str = "") -> None:
    if not url.lower().startswith("https://"):
        raise EnvironmentFault(
            f"{url}{whence} is refused: files are fetched over https only. Fetch it yourself"
        )


def _too_much(url: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"{url}: sends more bytes than this file has, and what arrived was deleted. Try again "
        "later, or fetch the file yourself"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _in_words(error: object) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said).splitlines()[0]
