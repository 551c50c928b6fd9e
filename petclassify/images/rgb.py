"""Any image that Pillow knows, as RGB.

An image is converted band by band, so that beside it and its RGB copy next to no memory is
needed: a whole RGBA photo over white would take three more copies on the way. Every
conversion looks at single pixels, so bands change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

BAND_PIXELS = 125_000

_MAY_LEAVE_ALPHA_BLANK = {"BMP", "TGA"}
_SIGNED = 2  # of TIFF's SampleFormat
_WHITE_IS_ZERO = 0  # of its PhotometricInterpretation

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Numbers:
    """What the numbers of deep grey mean.

    Attributes:
        signed: whether integers may be negative: a TIFF's SampleFormat says it, an array is.
        bits: of each, where a TIFF says that they are fewer than 32; 0 where nothing does.
        inverted: whether zero is white, as in scans; Pillow sees to that in 8 bits only.

    """

    signed: bool
    bits: int = 0
    inverted: bool = False


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
        numbers = _numbers_of(image)
        brightest = max(_values(image.crop(box), numbers).max() for box in _bands(image.size))

        clear = image.info.get("transparency")  # the one value of a PNG's that is

        def convert(band: Image.Image) -> Image.Image:
            values = _values(band, numbers)
            grey = _to_eight_bits(values, brightest, numbers)
            if clear is not None:
                grey.paste(255, mask=Image.fromarray(values == clear))
            return grey.convert("RGB")

        return convert
    if image.has_transparency_data and not _leaves_alpha_blank(image):
        return _over_white
    return lambda band: band.convert("RGB")


def _leaves_alpha_blank(image: Image.Image) -> bool:
    """Whether the fourth byte of each pixel is there for nothing, as BMP and TGA have it.

    Programs that know no alpha write zeros there; every viewer shows the colours then.
    """
    with_alpha = image.format in _MAY_LEAVE_ALPHA_BLANK and image.getbands()[-1] == "A"
    return with_alpha and image.getchannel("A").getextrema() == (0, 0)


def _bands(size: tuple[int, int]) -> Iterator[Box]:
    width, height = size
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def _over_white(band: Image.Image) -> Image.Image:
    if band.mode == "La":  # its way to RGBA leads through what it was before
        band = band.convert("LA")
    colour = band.convert("RGBA")
    white = Image.new("RGBA", colour.size, "white")
    return Image.alpha_composite(white, colour).convert("RGB")


def _numbers_of(image: Image.Image) -> _Numbers:
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return _Numbers(signed=image.format is None)
    bits = tags.get(ExifTags.Base.BitsPerSample, (1,))[0]
    return _Numbers(
        signed=bool(tags.get(ExifTags.Base.SampleFormat, (1,))[0] == _SIGNED),
        bits=bits if bits < 32 else 0,
        inverted=tags.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO,
    )


def _values(band: Image.Image, numbers: _Numbers) -> NDArray[Any]:
    """Of a deep grey image, (height, width); what is no number, infinite or negative is black."""
    values: NDArray[Any] = np.asarray(band)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    elif values.dtype == np.int32:
        # Pillow holds unsigned integers in signed ones.
        values = values.clip(0) if numbers.signed else values.view(np.uint32)
    return values


def _to_eight_bits(values: NDArray[Any], brightest: float, numbers: _Numbers) -> Image.Image:
    """Scale deep grey to 8 bits by the range of the image that it is of.

    16-bit integers keep their high byte, as Pillow does for 16-bit RGB; 32-bit integers
    likewise; signed ones have a bit less, and 12-bit ones four. 32-bit integers within 16 bits
    are 16-bit pictures that Pillow widened. Floats are read as 0 to 1, or as 0 to 255 where
    any value exceeds 1.
    """
    if values.dtype.kind == "f":
        scaled = values if brightest > 1.0 else values.clip(0.0, 1.0) * 255.0
    else:
        deep = values.dtype.itemsize == 4 and brightest > 0xFFFF
        bits = numbers.bits or (32 if deep else 16)
        narrow = numbers.signed and bool(numbers.bits or deep)
        scaled = values >> (bits - 8 - narrow)
    grey = scaled.clip(0, 255).astype(np.uint8)
    return Image.fromarray(255 - grey if numbers.inverted else grey)
