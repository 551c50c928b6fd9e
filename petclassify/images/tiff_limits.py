"""What of TIFF is refused before it is decoded, and libtiff kept quiet.

Decisions:
- A compressed TIFF's strips and tiles are unpacked whole, beside the photo and the file,
  which libtiff maps into memory.
- libtiff gives numbers in the machine's own byte order. Pillow knows that of unsigned 16 bits;
  other deep grey of a big-endian file it would swap once more, into noise.
- Palettes have 16 bits a number. Some old programs wrote 8, of which Pillow would take the high
  byte: black. Where none has more, they are taken for 8, as libtiff's own tools do.
- libtiff prints what it finds wrong on stderr, beside the exception that Pillow raises.
  Pillow offers no switch, so libtiff's own is used (its manual, TIFFError(3): a NULL handler
  prints nothing). Where the symbol is not to be had, as on Windows, the lines stay.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import BinaryIO

from PIL import ImagePalette, _imaging
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COLORMAP,
    IMAGELENGTH,
    IMAGEWIDTH,
    PLANAR_CONFIGURATION,
    ROWSPERSTRIP,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    STRIPBYTECOUNTS,
    TILEBYTECOUNTS,
    TILELENGTH,
    TILEWIDTH,
    TiffImageFile,
)

from petclassify.errors import ImageError, ImageFault

MAX_STRIP_BYTES = 144 << 20  # of 48 megapixels in RGB
MAX_STRIP_AND_FILE_BYTES = 190 << 20
MAX_TIMES_COVERED = 2
_IN_PLANES = 2  # of PlanarConfiguration
_SIGNED = 2  # of SampleFormat
_NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF"}  # Pillow's raw modes


def check_tiff(stream: BinaryIO, image: TiffImageFile, codec: str) -> None:
    """Refuse what would be read wrong, or take too much memory; see the module's docstring.

    Args:
        stream: the file.
        image: opened, not decoded.
        codec: Pillow's name of the decoder that it will take.

    Raises:
        ImageError: it is refused.

    """
    _keep_libtiff_quiet()
    _check_planes(image, codec)
    _check_signs(image)
    _take_narrow_palette(image)
    if codec == "raw":
        _check_whole(image)
    if codec == "libtiff":
        _take_native_order(image)
        _check_strips(stream, image)


def _check_planes(image: TiffImageFile, codec: str) -> None:
    """Refuse, of pictures in a plane for each channel, what Pillow reads wrong.

    Of deep colour it reads every other byte, of two planes, grey and alpha, the first alone:
    nothing would be opaque.
    """
    channels = len(image.getbands())
    if image.tag_v2.get(PLANAR_CONFIGURATION) != _IN_PLANES or channels == 1:
        return
    if channels == 2:
        raise ImageError(
            ImageFault.NOT_AN_IMAGE,
            "a TIFF of a kind that is not read: its grey and its alpha lie in planes. "
            "Save it with its channels interleaved",
        )
    if max(image.tag_v2.get(BITSPERSAMPLE, (1,))) > 8 and codec == "raw":
        raise ImageError(
            ImageFault.NOT_AN_IMAGE,
            "a TIFF of a kind that is not read: its colours lie in planes of more than 8 bits. "
            "Save it compressed, or with its channels interleaved",
        )


def _check_signs(image: TiffImageFile) -> None:
    """Refuse 8-bit numbers that may be negative, which Pillow reads as if they could not be."""
    bits, formats = image.tag_v2.get(BITSPERSAMPLE, (1,)), image.tag_v2.get(SAMPLEFORMAT, (1,))
    if _SIGNED in formats and max(bits) <= 8:
        raise ImageError(
            ImageFault.NOT_AN_IMAGE,
            "a TIFF of a kind that is not read: its 8-bit numbers have signs. Save it unsigned",
        )


def _check_whole(image: TiffImageFile) -> None:
    """Refuse a picture that lacks strips or tiles, whose places Pillow leaves black.

    Those that it has too many of lie over it once more, and are decoded like the others.
    """
    width, height = (image.tag_v2[tag] for tag in (IMAGEWIDTH, IMAGELENGTH))
    planes = len(image.getbands()) if image.tag_v2.get(PLANAR_CONFIGURATION) == _IN_PLANES else 1
    boxes = [tile.extents for tile in image.tile if tile.extents]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    if covered < width * height * planes:
        raise ImageError(
            ImageFault.DAMAGED, "damaged image: it lacks strips or tiles of its pixels"
        )
    if covered > MAX_TIMES_COVERED * width * height * planes:
        raise ImageError(
            ImageFault.TOO_LARGE,
            f"strips or tiles for its pixels more than {MAX_TIMES_COVERED} times over",
        )


def _take_narrow_palette(image: TiffImageFile) -> None:
    numbers = image.tag_v2.get(COLORMAP, ())
    if image.palette is not None and numbers and max(numbers) <= 0xFF:
        image.palette = ImagePalette.raw("RGB;L", bytes(numbers))


def _take_native_order(image: TiffImageFile) -> None:
    image.tile = [
        tile._replace(args=(_NATIVE.get(tile.args[0], tile.args[0]), *tile.args[1:]))
        if isinstance(tile.args, tuple)
        else tile
        for tile in image.tile
    ]


def _check_strips(stream: BinaryIO, image: TiffImageFile) -> None:
    """Refuse a compressed TIFF of which libtiff would unpack too much at a time."""

    def told(tag: int, otherwise: int) -> int:
        value = image.tag_v2.get(tag)
        return value if isinstance(value, int) else otherwise

    width, height = image.size
    rows = min(height, told(ROWSPERSTRIP, height))
    pixels = max(told(TILEWIDTH, width) * told(TILELENGTH, rows), 1)
    samples = told(SAMPLESPERPIXEL, 1)
    strip_bytes = pixels * samples * int(max(image.tag_v2.get(BITSPERSAMPLE, (1,)))) // 8
    before = stream.tell()
    file_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(before)
    # libtiff maps the file, of which the first picture's strips are read.
    packed = image.tag_v2.get(STRIPBYTECOUNTS) or image.tag_v2.get(TILEBYTECOUNTS) or ()
    packed_bytes = min(file_bytes, sum(packed)) if packed else file_bytes
    limit = max(0, min(MAX_STRIP_BYTES, MAX_STRIP_AND_FILE_BYTES - packed_bytes))
    if strip_bytes > limit:
        raise ImageError(
            ImageFault.TOO_LARGE,
            f"a strip or tile of {strip_bytes >> 20} MiB out of {packed_bytes >> 20} MiB packed, "
            f"more than the limit of {limit >> 20} MiB",
        )


@functools.cache
def _keep_libtiff_quiet() -> None:
    try:
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
    except (OSError, AttributeError):
        return
