"""A TIFF's directory, looked into before Pillow makes Python objects of all that it lists.

Pillow makes a number, or a fraction, of each value of the tags that it reads, and for each strip
or tile a dozen objects more, which then are decoded one at a time: a place takes one byte of a file
and some 400 of memory. So a file of few megabytes could take gigabytes, and a minute.

Source: TIFF 6.0, section 2; BigTIFF, whose counts and places have 64 bits.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from PIL.TiffImagePlugin import (
    ICCPROFILE,
    STRIPBYTECOUNTS,
    STRIPOFFSETS,
    TILEBYTECOUNTS,
    TILEOFFSETS,
)

from petclassify.errors import ImageError, ImageFault

MAX_VALUES = 100_000  # of a tag; the highest photo that is allowed has 71,000 rows
_STARTS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")  # that Pillow takes
_PIECES = {STRIPOFFSETS, STRIPBYTECOUNTS, TILEOFFSETS, TILEBYTECOUNTS}
_XMP, _TRANSFER_FUNCTION = 700, 301  # the second is long, and not read
_READ = {*range(254, 340), _XMP, ICCPROFILE} - {_TRANSFER_FUNCTION}
_BYTES = {1, 2, 7}  # types of which Pillow makes one object


def check_directory(stream: BinaryIO) -> None:
    """Refuse a TIFF of more strips, tiles or other values than photos have.

    Other files, and damaged ones, are left to Pillow.

    Raises:
        ImageError: it is refused.

    """
    head = stream.read(16)
    if not head.startswith(_STARTS):
        return
    order, big = (">" if head.startswith(b"MM") else "<"), head[2:3] == b"+"
    try:
        (place,) = struct.unpack_from(f"{order}Q" if big else f"{order}L", head, 8 if big else 4)
        stream.seek(place)
        start = struct.Struct(f"{order}Q" if big else f"{order}H")
        (count,) = start.unpack(stream.read(start.size))
    except (struct.error, ValueError, OverflowError, OSError):
        return
    entry = struct.Struct(f"{order}HHQ8x" if big else f"{order}HHL4x")
    entries = stream.read(count * entry.size)
    for tag, kind, values in entry.iter_unpack(entries[: len(entries) // entry.size * entry.size]):
        costs = tag in _READ and (kind not in _BYTES or tag in _PIECES)
        if costs and values > MAX_VALUES:
            raise ImageError(
                ImageFault.TOO_LARGE,
                f"{values:,} {'strips or tiles' if tag in _PIECES else f'values of tag {tag}'}, "
                f"more than the limit of {MAX_VALUES:,}",
            )
