"""Any image that Pillow knows, as RGB.

An image is converted band by band, so that beside it and its RGB copy next to no memory is
needed: a whole RGBA photo over white would take three more copies on the way. Every
conversion looks at single pixels, so bands change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

BAND_PIXELS = 125_000

_SIGNED = 2  # of TIFF's SampleFormat

Box = tuple[int, int, int, int]


def to_rgb(image: Image.Image) -> Image.Image:
    """Make a loaded image RGB: alpha over white, deep grey scaled by its range, never clipped.

    Raises:
        ValueError: Pillow knows no way from the image's mode to RGB.

    """
    convert = _conversion_of(image)
    boxes = list(_bands(image.size))
    if len(boxes) == 1:
        return convert(image)
    rgb = Image.new("RGB", image.size)
    for box in boxes:
        rgb.paste(convert(image.crop(box)), box)
    return rgb


def _conversion_of(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    if image.mode.startswith("I") or image.mode == "F":
        signed = _is_signed(image)
        brightest = max(_values(image.crop(box), signed).max() for box in _bands(image.size))
        return lambda band: _to_eight_bits(_values(band, signed), brightest, signed).convert("RGB")
    if image.has_transparency_data:
        return _over_white
    return lambda band: band.convert("RGB")


def _bands(size: tuple[int, int]) -> Iterator[Box]:
    width, height = size
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _over_white(band: Image.Image) -> Image.Image:
    colour = band.convert("RGBA")
    white = Image.new("RGBA", colour.size, "white")
    return Image.alpha_composite(white, colour).convert("RGB")


def _is_signed(image: Image.Image) -> bool:
    """Whether integers may be negative: a TIFF's SampleFormat says it, an array is."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return image.format is None
    return bool(tags.get(ExifTags.Base.SampleFormat, (1,))[0] == _SIGNED)


def _values(band: Image.Image, signed: bool) -> NDArray[Any]:
    """Of a deep grey image, (height, width); what is no number, infinite or negative is black."""
    values: NDArray[Any] = np.asarray(band)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    elif values.dtype == np.int32:
        # Pillow holds unsigned integers in signed ones.
        values = values.clip(0) if signed else values.view(np.uint32)
    return values


def _to_eight_bits(values: NDArray[Any], brightest: float, signed: bool) -> Image.Image:
    """Scale deep grey to 8 bits by the range of the image that it is of.

    16-bit integers keep their high byte, as Pillow does for 16-bit RGB; 32-bit integers
    likewise; signed ones have a bit less. 32-bit integers within 16 bits are 16-bit pictures
    that Pillow widened. Floats are read as 0 to 1, or as 0 to 255 where any value exceeds 1.
    """
    if values.dtype.kind == "f":
        scaled = values if brightest > 1.0 else values.clip(0.0, 1.0) * 255.0
    else:
        deep = values.dtype.itemsize == 4 and brightest > 0xFFFF
        narrow = signed and (deep or values.dtype.itemsize == 2)
        scaled = values >> ((24 if deep else 8) - narrow)
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
