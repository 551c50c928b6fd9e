"""One photo in, upright RGB pixels out: the only decoder of the project.

Training, prediction and everything after them read photos through this module,
so that a model never meets pixels that were made another way. Pillow decodes.

Decisions:
- A JPEG much larger than needed is decoded at a half, a quarter or an eighth of
  its size, which libjpeg does for less work than the whole. At least twice the
  asked size remains, so the antialiased resize still decides the result.
- LAB, which Pillow converts through a colour profile at 20 megapixels a second, is reduced
  by the same rule before that, by averaging.
- Resize and crop are one resampling of the window that survives the crop, along the width first.
  Pillow's own order depends on the photo since Pillow 13; with the same one everywhere, pixels
  do not depend on its version, and the standalone graph makes the same. Of a tall photo only the
  rows that the window reaches are resampled: a strip of 70,000 rows, made wider, fills the memory.
- At most two whole images are held at a time: the decoded one is let go before its RGB copy
  is turned.
- Colour profiles are not applied, as in torchvision and timm.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from petclassify.arrays import Pixels
from petclassify.config import Resize
from petclassify.images.opening import (
    DECODING_ERRORS,
    MAX_PIXELS,
    check_size,
    codec_of,
    faults_named,
    max_pixels_of,
    opened,
)
from petclassify.images.png_clear import widen_clear_value
from petclassify.images.png_sums import check_sums
from petclassify.images.rgb import to_rgb
from petclassify.images.tiff_limits import check_tiff

_WIDEST_FILTER = 3  # Lanczos reaches so many pixels to either side
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: Path | bytes, shortest_side: int | None = None) -> Image.Image:
    """Read one photo: its first frame, upright, RGB, alpha over white, 16-bit scaled.

    Args:
        source: a file, or the encoded bytes of one.
        shortest_side: in pixels; how much resolution the caller needs. A larger
            JPEG or LAB image may come back reduced, with its shorter side at least twice this.

    Raises:
        ImageError: with the path and the reason, for anything that is not a whole
            image within the limits of `images.opening`: 50 megapixels (20 for WebP and AVIF)
            and a side ratio of 100.

    """
    with opened(source) as image:
        if shortest_side is not None:
            image.draft(None, (2 * shortest_side, 2 * shortest_side))
        if isinstance(image, PngImageFile):
            check_sums(cast("BinaryIO", image.fp))
            widen_clear_value(image)
        image.load()
        orientation, rgb = _orientation(image), to_rgb(_reduced(image, shortest_side))
        image.close()
        return _turned(rgb, orientation)


def read_size(source: Path | bytes) -> tuple[int, int]:
    """Read the width and height in pixels of one upright photo, from its header.

    Raises:
        ImageError: see `read_image`; damage behind the header is not noticed.

    """
    with opened(source) as image:
        width, height = image.size
        if isinstance(image, TiffImageFile):  # says its upright size itself
            return width, height
        return (width, height) if _orientation(image) < 5 else (height, width)


def count_decoded_pixels(source: Path | bytes, shortest_side: int) -> int:
    """Tell from its header how many pixels `read_image` would hold of one photo.

    Kinds whose decoders take more memory, and of which fewer pixels are allowed for that,
    count for as many more: the largest photo of every kind counts alike.

    Raises:
        ImageError: see `read_image`; damage behind the header is not noticed.

    """
    with opened(source) as image:
        if not image.info.get("progressive"):  # of those all coefficients are held
            image.draft(None, (2 * shortest_side, 2 * shortest_side))
        return image.width * image.height * MAX_PIXELS // max_pixels_of(image)


def read_pixels(source: Path | bytes, resize: Resize) -> Pixels:
    """Read one photo and fit it to the network's window.

    Returns:
        (crop, crop, 3), values 0 to 255.

    Raises:
        ImageError: see `read_image`.

    """
    return to_pixels(read_image(source, shortest_side=resize.shorter_side), resize)


def upright_rgb_of(image: Image.Image) -> Image.Image:
    """Make a Pillow image, opened elsewhere and in any mode, what `read_image` gives.

    Raises:
        ImageError: see `read_image`.

    """
    with faults_named(None):
        check_size(image.size)
        if isinstance(image, PngImageFile):
            widen_clear_value(image)
        if isinstance(image, TiffImageFile) and image.fp is not None:
            check_tiff(cast("BinaryIO", image.fp), image, codec_of(image))
            return _turned(to_rgb(_loaded_unmapped(image)), _orientation(image))
        image.load()
        return _turned(to_rgb(image), _orientation(image))


def _loaded_unmapped(image: TiffImageFile) -> TiffImageFile:
    """Load without mapping the file, in which Pillow takes the upright size for that of the rows.

    It maps files whose name it knows.
    """
    name, image.filename = image.filename, ""
    try:
        image.load()
    finally:
        image.filename = name
    return image


def to_pixels(image: Image.Image, resize: Resize) -> Pixels:
    """Fit one upright RGB photo to the network's window.

    The shorter side is brought to `resize.shorter_side`, and the middle square of
    `resize.crop` is kept. A crop larger than the resized photo takes its whole
    shorter side.

    Returns:
        (crop, crop, 3), values 0 to 255.

    Raises:
        ImageError: the photo's sides differ more than 100-fold.

    Source: shorter-side resize and centre crop, Krizhevsky et al. 2012, section 2.

    """
    check_size(image.size)
    crop, resampling = resize.crop, Image.Resampling[resize.interpolation.upper()]
    left, top, right, bottom = window_box(image.size, resize)
    first, last = _rows_reached(top, bottom, image.height, crop)
    if last - first < image.height / 2:
        image = image.crop((0, first, image.width, last))
        top, bottom = top - first, bottom - first
    wide = image.resize((crop, image.height), resampling, box=(left, 0, right, image.height))
    return np.asarray(wide.resize((crop, crop), resampling, box=(0, top, crop, bottom)))


def window_box(size: tuple[int, int], resize: Resize) -> tuple[float, float, float, float]:
    """Which part of a photo of this width and height the network sees: left, top, right, bottom."""
    width, height = size
    window = min(width, height) * min(1.0, resize.crop / resize.shorter_side)
    left, top = (width - window) / 2, (height - window) / 2
    return left, top, left + window, top + window


def _rows_reached(top: float, bottom: float, height: int, crop: int) -> tuple[int, int]:
    """From where to where a photo's rows decide its window, which filters look beyond."""
    reach = (_WIDEST_FILTER + 1) * max(1.0, (bottom - top) / crop)
    return max(0, math.floor(top - reach)), min(height, math.ceil(bottom + reach))


def _reduced(image: Image.Image, shortest_side: int | None) -> Image.Image:
    """Of a LAB image what the caller needs; see the module's docstring."""
    if image.mode != "LAB" or shortest_side is None:
        return image
    factor = min(image.size) // (2 * shortest_side)
    return image.reduce(factor) if factor > 1 else image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. A damaged EXIF block says nothing: the pixels are good."""
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODING_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)
