"""One photo in, upright RGB pixels out: the only decoder of the project.

Training, prediction and everything after them read photos through this module,
so that a model never meets pixels that were made another way. Pillow decodes.

Decisions:
- Only the formats in FORMATS are tried: Pillow would hand EPS to Ghostscript.
- A JPEG much larger than needed is decoded at a half, a quarter or an eighth of
  its size, which libjpeg does for less work than the whole. At least twice the
  asked size remains, so the antialiased resize still decides the result.
- Resize and crop are one resampling of the window that survives the crop.
- Colour profiles are not applied, as in torchvision and timm.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from petclassify.config import Resize
from petclassify.errors import ImageError, ImageFault

MAX_PIXELS = 50_000_000
MAX_SIDE_RATIO = 100
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "PPM", "TGA")

# What Pillow's documentation and plugins raise on bytes that are not what they claim.
_DECODING_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)

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
            JPEG may come back reduced, with its shorter side at least twice this.

    Raises:
        ImageError: with the path and the reason, for anything that is not a whole
            image within 50 megapixels and a side ratio of 100.

    """
    with _faults_named(source), _opened(source) as image:
        check_size(image.size)
        if shortest_side is not None:
            image.draft(None, (2 * shortest_side, 2 * shortest_side))
        image.load()
        return to_upright_rgb(image)


def read_size(source: Path | bytes) -> tuple[int, int]:
    """Read the width and height in pixels of one upright photo, from its header.

    Raises:
        ImageError: see `read_image`; damage behind the header is not noticed.

    """
    with _faults_named(source), _opened(source) as image:
        check_size(image.size)
        width, height = image.size
        return (width, height) if _orientation(image) < 5 else (height, width)


def read_pixels(source: Path | bytes, resize: Resize) -> NDArray[np.uint8]:
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
    with _faults_named(None):
        check_size(image.size)
        image.load()
        return to_upright_rgb(image)


def to_pixels(image: Image.Image, resize: Resize) -> NDArray[np.uint8]:
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
    fitted = image.resize(
        (resize.crop, resize.crop),
        Image.Resampling[resize.interpolation.upper()],
        box=window_box(image.size, resize),
    )
    return np.asarray(fitted)


def window_box(size: tuple[int, int], resize: Resize) -> tuple[float, float, float, float]:
    """Which part of a photo of this width and height the network sees: left, top, right, bottom."""
    width, height = size
    window = min(width, height) * min(1.0, resize.crop / resize.shorter_side)
    left, top = (width - window) / 2, (height - window) / 2
    return left, top, left + window, top + window


def to_upright_rgb(image: Image.Image) -> Image.Image:
    """Turn a loaded image upright and make it RGB, whatever its mode.

    Raises:
        ValueError: Pillow knows no way from the image's mode to RGB.

    """
    if image.mode.startswith("I") or image.mode == "F":
        upright = _turned(_to_eight_bits(image), _orientation(image))
        return upright.convert("RGB")
    upright = _turned(image, _orientation(image))
    if upright.has_transparency_data:
        colour = upright.convert("RGBA")
        white = Image.new("RGBA", colour.size, "white")
        return Image.alpha_composite(white, colour).convert("RGB")
    return upright.convert("RGB")


def check_size(size: tuple[int, int]) -> None:
    """Refuse an image by its width and height in pixels, before it is decoded.

    Raises:
        ImageError: over 50 megapixels, or sides that differ more than 100-fold.

    """
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(
            ImageFault.TOO_LARGE,
            f"{width} x {height} pixels, more than the limit of "
            f"{MAX_PIXELS // 1_000_000} megapixels",
        )
    if max(size) > MAX_SIDE_RATIO * min(size):
        raise ImageError(
            ImageFault.TOO_NARROW,
            f"{width} x {height} pixels: one side is more than {MAX_SIDE_RATIO} times the other",
        )


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Open without decoding. Pillow's own size warning is left to `check_size`."""
    with (
        io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream,
        Image.open(stream, formats=FORMATS) as image,
    ):
        yield image


@contextmanager
def _faults_named(source: Path | bytes | None) -> Iterator[None]:
    """Turn what Pillow and the file system raise into an ImageError with path and reason."""
    path = source if isinstance(source, Path) else None
    try:
        yield
    except ImageError as error:
        raise ImageError(error.kind, error.reason, path) from None
    except FileNotFoundError:
        raise ImageError(ImageFault.MISSING, "no such file", path) from None
    except UnidentifiedImageError:
        if source == b"" or (path is not None and path.stat().st_size == 0):
            raise ImageError(ImageFault.EMPTY, "the file is empty", path) from None
        raise ImageError(ImageFault.NOT_AN_IMAGE, "not an image in a known format", path) from None
    except Image.DecompressionBombError:
        raise ImageError(
            ImageFault.TOO_LARGE,
            f"more than the limit of {MAX_PIXELS // 1_000_000} megapixels",
            path,
        ) from None
    except _DECODING_ERRORS as error:
        # Only the operating system's errors have a number; Pillow's say what is damaged.
        if isinstance(error, OSError) and error.errno is not None:
            reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
            raise ImageError(ImageFault.UNREADABLE, reason, path) from None
        raise ImageError(ImageFault.DAMAGED, f"damaged image: {error}", path) from None


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. A damaged EXIF block says nothing: the pixels are good."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (*_DECODING_ERRORS, TypeError):
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale a deep grey image to 8 bits by its range, never clipping it.

    16-bit integers keep their high byte, as Pillow does for 16-bit RGB. 32-bit
    integers within 16 bits are 16-bit pictures that Pillow widened. Floats are read
    as 0 to 1, or as 0 to 255 where any value exceeds 1.
    """
    values = np.asarray(image)
    if values.dtype.kind == "f":
        bright = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        scaled = bright if bright.max(initial=0.0) > 1.0 else bright * 255.0
    elif values.max(initial=0) <= 0xFFFF:
        scaled = values >> 8
    else:
        scaled = values >> 24 if values.dtype.itemsize == 4 else values >> 8
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
