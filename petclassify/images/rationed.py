"""A photo's bytes, no more of them at a time than photos take.

Pillow's plugins walk through a file in Python, part by part, and take whatever length a part
says. A file of nothing but small parts, or of one part of a gigabyte, would keep them busy, or
fill the memory, long before any limit on pixels is met.

A picture's own bytes come in blocks of 64 KiB, of which a photo of 50 megapixels has a few
thousand; what is read in larger ones, or before the size of the picture is known, is metadata.
Some of it costs far more than its bytes: Pillow copies all EXIF so far for each further piece of
it, takes Photoshop's apart, and unpacks up to a mebibyte out of each compressed text or profile.
Of EXIF it makes a fraction for each 8 bytes that its orientation claims to have.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from petclassify.errors import ImageError, ImageFault

MAX_PARTS = 500_000  # of a PNG, whose parts cost most, 1 to 3 s
MAX_COSTLY_PARTS = 200
MAX_METADATA_BYTES = 32 << 20
MAX_EXIF_BYTES = 1 << 20  # of fractions, which take about half a second; cameras write 64 KiB
MAX_WHOLE_BYTES = 64 << 20  # of WebP, AVIF and JPEG in several scans, which are read in one
_BLOCK_BYTES = 1 << 16
_EXIF_SEGMENT = b"Exif\0\0"  # of a JPEG, by its first bytes
_EXIF_CHUNK = b"eXIf"  # of a PNG, by the end of its head
_COSTLY_SEGMENTS = (_EXIF_SEGMENT, b"Photoshop 3.0\0")  # of a JPEG, by their first bytes
_COSTLY_CHUNKS = {b"zTXt", b"iTXt", b"iCCP", _EXIF_CHUNK}  # of a PNG, by the end of their head
_CHUNK_HEAD_BYTES = 8


class Rationed:
    """A stream that raises an ImageError when it is asked for too much."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._parts = 0
        self._costly_parts = 0
        self._metadata_bytes = 0
        self._exif_bytes = 0
        self._may_be_pixels = False

    def expect_pixels(self) -> None:
        """From now on small reads are of the picture itself."""
        self._may_be_pixels = True

    def read(self, size: int | None = -1) -> bytes:
        """Read as a stream does.

        Raises:
            ImageError: too much was asked for.

        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _too_large(f"made of more than {MAX_PARTS:,} parts")
        if size is None or size < 0:
            self._require_small()
            return self._stream.read()
        if size > _BLOCK_BYTES or not self._may_be_pixels:
            self._metadata_bytes += size
            if self._metadata_bytes > MAX_METADATA_BYTES:
                raise _too_large(f"more than {MAX_METADATA_BYTES >> 20} MiB beside its pixels")
        content = self._stream.read(size)
        if (
            content[4:] in _COSTLY_CHUNKS
            if size == _CHUNK_HEAD_BYTES
            else content.startswith(_COSTLY_SEGMENTS)
        ):
            self._count_costly(content, size)
        return content

    def _count_costly(self, part: bytes, size: int) -> None:
        self._costly_parts += 1
        if self._costly_parts > MAX_COSTLY_PARTS:
            raise _too_large(f"more than {MAX_COSTLY_PARTS} pieces of metadata")
        if size == _CHUNK_HEAD_BYTES:
            announced = int.from_bytes(part[:4], "big")
            self._exif_bytes += announced if part.endswith(_EXIF_CHUNK) else 0
        else:
            self._exif_bytes += len(part) if part.startswith(_EXIF_SEGMENT) else 0
        check_exif(self._exif_bytes)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a stream has
        return getattr(self._stream, name)

    def _require_small(self) -> None:
        before = self._stream.tell()
        left = self._stream.seek(0, os.SEEK_END) - before
        self._stream.seek(before)
        if left > MAX_WHOLE_BYTES:
            raise _too_large(
                f"a file of {left >> 20} MiB, of a kind that is read whole, more than the limit "
                f"of {MAX_WHOLE_BYTES >> 20} MiB"
            )


def check_exif(size_bytes: int) -> None:
    """Refuse more EXIF than cameras write; for formats whose decoders hand it out whole, too.

    Raises:
        ImageError: it is refused.

    """
    if size_bytes > MAX_EXIF_BYTES:
        raise _too_large(f"more than {MAX_EXIF_BYTES >> 20} MiB of EXIF")


def _too_large(why: str) -> ImageError:
    return ImageError(ImageFault.TOO_LARGE, why)
