"""Whether a file that Pillow takes for a TGA is one: the format has no signature.

Icons of Windows and tables of numbers begin as a TGA may, and would come out as noise.
"""

from __future__ import annotations

from typing import BinaryIO

from PIL import UnidentifiedImageError

_HEADER_BYTES = 18
_INDEXED, _COLOUR, _GREY = 1, 2, 3
_DEPTHS = {_INDEXED: {8}, _COLOUR: {16, 24, 32}, _GREY: {1, 8, 16}}  # bits a pixel
_RUN_LENGTH = 8  # added to the kind
_ALPHA_BITS, _INTERLEAVING = 0x0F, 0xC0  # of the last byte
_MOST_ALPHA_BITS = 8


def check_tga(stream: BinaryIO) -> None:
    """Refuse what has a size and a kind by chance, but is no TGA.

    Raises:
        UnidentifiedImageError: it is none.

    Source: Truevision TGA File Format Specification 2.0, fields 2 to 5.

    """
    before = stream.tell()
    stream.seek(0)
    header = stream.read(_HEADER_BYTES)
    stream.seek(before)
    has_map, kind, depth, descriptor = header[1], header[2] & ~_RUN_LENGTH, header[16], header[17]
    if (
        depth not in _DEPTHS.get(kind, ())
        or (kind == _INDEXED and not has_map)
        or descriptor & _INTERLEAVING
        or descriptor & _ALPHA_BITS > _MOST_ALPHA_BITS
    ):
        raise UnidentifiedImageError
