"""A photo's bytes, no more of them at a time than photos take.

Pillow's plugins walk through a file in Python, part by part, and take whatever length a part
says. A file of nothing but small parts, or of one part of a gigabyte, would keep them busy, or
fill the memory, long before any limit on pixels is met.

A picture's own bytes come in blocks of 64 KiB, of which a photo of 50 megapixels has a few
thousand; what is read in larger ones is metadata.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO

from petclassify.errors import ImageError, ImageFault

MAX_PARTS = 1_500_000  # of a PNG, whose parts cost most, about 3 s
MAX_METADATA_BYTES = 32 << 20  # in Python's numbers, as a TIFF's places of strips, ten times that
MAX_WHOLE_BYTES = 64 << 20  # of WebP, AVIF and progressive JPEG, which are read in one
_BLOCK_BYTES = 1 << 16


class Rationed:
    """A stream that raises an ImageError when it is asked for too much."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._parts = 0
        self._metadata_bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        """Read as a stream does.

        Raises:
            ImageError: too much was asked for.

        """
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise ImageError(ImageFault.TOO_LARGE, f"made of more than {MAX_PARTS:,} parts")
        if size is None or size < 0:
            self._require_small()
        elif size > _BLOCK_BYTES:
            self._metadata_bytes += size
            if self._metadata_bytes > MAX_METADATA_BYTES:
                raise ImageError(
                    ImageFault.TOO_LARGE,
                    f"more than {MAX_METADATA_BYTES >> 20} MiB beside its pixels",
                )
        return self._stream.read(-1 if size is None else size)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a stream has
        return getattr(self._stream, name)

    def _require_small(self) -> None:
        before = self._stream.tell()
        left = self._stream.seek(0, os.SEEK_END) - before
        self._stream.seek(before)
        if left > MAX_WHOLE_BYTES:
            raise ImageError(
                ImageFault.TOO_LARGE,
                f"a file of {left >> 20} MiB, of a kind that is read whole, more than the limit "
                f"of {MAX_WHOLE_BYTES >> 20} MiB",
            )
