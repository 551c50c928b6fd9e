"""What of JPEG is refused before it is decoded.

Decisions:
- Where no single scan has all of a photo, libjpeg holds two bytes for each of its numbers: of
  progressive files, and of those whose channels come one after the other.
- Each scan of such a file goes over all of its pixels again. A few bytes make one, even where no
  data follow: libjpeg then takes them for zeros. Encoders make about ten; files with far more exist
  to keep decoders busy.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from PIL import Image

from petclassify.errors import ImageError, ImageFault

MAX_SCANNED_PIXELS = 2_000_000_000  # 40 scans of 50 megapixels take about 2 s
_FORMATS = ("JPEG", "MPO")  # the second: several in one file, of which the first is read
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # restarts and \x01 have no length
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_BARE = (_START, _END)  # without a length
_HOP_BYTES = 1024


def comes_in_scans(stream: BinaryIO, image: Image.Image) -> bool:
    """Whether an image is a JPEG of several scans."""
    if image.format not in _FORMATS:
        return False
    before = stream.tell()
    channels = _first_channels(stream)
    stream.seek(before)
    return bool(image.info.get("progressive")) or channels < len(image.getbands())


def check_scans(stream: BinaryIO, size: tuple[int, int]) -> None:
    """Refuse a JPEG of several scans that would be gone over too often.

    Raises:
        ImageError: it is refused.

    """
    before = stream.tell()
    stream.seek(0)
    scans = count_scans(stream.read())
    stream.seek(before)
    if scans * size[0] * size[1] > MAX_SCANNED_PIXELS:
        raise ImageError(
            ImageFault.TOO_LARGE,
            f"{size[0]} x {size[1]} pixels in {scans} scans, more than the limit of "
            f"{MAX_SCANNED_PIXELS // 1_000_000_000} gigapixels",
        )


def count_scans(jpeg: bytes) -> int:
    """How many scans a JPEG has, up to its end or to where it is damaged.

    Source: ITU-T T.81, annex B.1: a marker is 0xff and a code; all but a few are followed by
    the length of their segment. In a scan's data 0xff is followed by zero or a restart.
    """
    scans, place = 0, 0
    while found := _MARKER.search(jpeg, place):
        code = found.group()[-1]
        if code == _END and scans:  # before, it ends tables that are sent ahead
            break
        scans += code == _SCAN
        place = found.end()
        if code not in _BARE:
            place += int.from_bytes(jpeg[place : place + 2], "big")
    return scans


def _first_channels(stream: BinaryIO) -> int:
    """How many channels the first scan has; 0 where there is none."""
    place = 0
    while True:
        stream.seek(place)
        hop, at = stream.read(_HOP_BYTES), 0
        while (found := _MARKER.search(hop, at)) and found.end() + 3 <= len(hop):
            code, at = found.group()[-1], found.end()
            if code == _SCAN:
                return hop[at + 2]  # behind the length
            if code not in _BARE:
                at += int.from_bytes(hop[at : at + 2], "big")
        if len(hop) < _HOP_BYTES:
            return 0
        place += found.start() if found else max(at, len(hop) - 1)
