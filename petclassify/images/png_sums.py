"""The checksums of a PNG's pixels, which Pillow does not compare.

A download that was broken off may have its whole length, the rest zeros: those decode to noise.
"""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO

from petclassify.errors import ImageError, ImageFault

_SIGNATURE_BYTES = 8
_BLOCK_BYTES = 1 << 16
_PIXELS, _END = b"IDAT", b"IEND"


def check_sums(stream: BinaryIO) -> None:
    """Refuse a PNG of which a part with pixels has another sum than it says.

    Whether it is cut off, its decoder finds out.

    Raises:
        ImageError: so it is.

    Source: PNG specification, section 5.3: length, kind, content, and CRC of kind and content.

    """
    place = _SIGNATURE_BYTES
    while True:
        stream.seek(place)
        head = stream.read(8)
        if len(head) < 8 or head[4:] == _END:
            return
        (length,) = struct.unpack(">I", head[:4])
        if head[4:] == _PIXELS and not _has_its_sum(stream, length):
            raise ImageError(
                ImageFault.DAMAGED, "damaged image: its pixels have another checksum than it says"
            )
        place += 12 + length


def _has_its_sum(stream: BinaryIO, length: int) -> bool:
    """Whether a part with pixels has; also if it is cut off."""
    found = zlib.crc32(_PIXELS)
    while length and (block := stream.read(min(length, _BLOCK_BYTES))):
        found = zlib.crc32(block, found)
        length -= len(block)
    said = stream.read(4)
    return len(said) < 4 or said == struct.pack(">I", found)
