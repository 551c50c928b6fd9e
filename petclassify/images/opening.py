"""Opening a photo with Pillow, and every way in which that fails, by name.

Decisions:
- Only the formats in FORMATS are tried: Pillow would hand EPS to Ghostscript.
- Limits are checked on the header, before anything is decoded. They keep what one file may
  take to 512 MiB and a few seconds: a decoded photo holds 4 bytes a pixel, and its RGB copy
  as much again. The decoders of WebP and AVIF hold several whole frames of their own, and
  that of a progressive JPEG two bytes for each number: of CMYK 8 bytes a pixel.
- Pillow decodes plain PPM, PPM of another depth than 8 or 16 bits and run-length BMP in Python:
  some ten megapixels would take it many seconds.
- A file gives out no more parts than photos have, see `images.rationed`.
- LZMA, which TIFF allows, unpacks some forty megabytes a second.
- JPEG and TIFF have faults of their own, see `images.jpeg_limits`, `images.tiff_limits` and
  `images.tiff_directory`.
"""

from __future__ import annotations

import errno
import io
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image, PngImagePlugin, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from petclassify.errors import ImageError, ImageFault
from petclassify.images.jpeg_limits import check_scans, comes_in_scans
from petclassify.images.other_files import is_heic, remark
from petclassify.images.rationed import Rationed, check_exif
from petclassify.images.tga_header import check_tga
from petclassify.images.tiff_directory import check_directory
from petclassify.images.tiff_limits import check_tiff

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "PPM", "TGA")
MAX_PIXELS = 50_000_000
MAX_PIXELS_OF = {
    **{"WEBP": 20_000_000, "AVIF": 20_000_000, "progressive CMYK": 45_000_000},
    **{"ppm": 1_000_000, "ppm_plain": 1_000_000, "bmp_rle": 10_000_000},  # decoders in Python
    **{"lzma": 10_000_000},
}
MAX_COMMENTS = 1000  # in a plain PPM: Pillow copies a mebibyte for each
MAX_SIDE_RATIO = 100

# What Pillow's documentation and plugins raise on bytes that are not what they claim. A
# TypeError comes of TIFF tags whose type is not the one that Pillow counts on, an
# OverflowError of offsets that no file reaches, a ZeroDivisionError of an AVIF's clock that stands
# still, an AssertionError of a PNG that has a palette by its header and none in fact; where Python
# leaves assertions out, an AttributeError comes in its place.
DECODING_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    SyntaxError,
    TypeError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


@contextmanager
def opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Open without decoding, within the limits. Pillow's own size warning is left to them.

    Raises:
        ImageError: see `read_image`.

    """
    with faults_named(source), _stream(source) as rationed:
        stream = cast("BinaryIO", rationed)
        check_directory(stream)
        with Image.open(stream, formats=FORMATS) as image:
            rationed.expect_pixels()
            if image.format == "TGA":
                check_tga(stream)
            check_exif(len(image.info.get("exif", b"")))
            image.info["progressive"] = comes_in_scans(stream, image)
            check_size(image.size, max_pixels_of(image))
            if image.info["progressive"]:
                check_scans(stream, image.size)
            if codec_of(image) == "ppm_plain":
                _check_comments(stream)
            if isinstance(image, TiffImageFile):
                check_tiff(stream, image, codec_of(image))
            yield image


def max_pixels_of(image: Image.Image) -> int:
    """How many pixels an image of this kind may have."""
    progressive = image.mode == "CMYK" and image.info.get("progressive")
    kind = "progressive CMYK" if progressive else image.format or ""
    kinds = (codec_of(image), str(image.info.get("compression")), kind)
    return min(MAX_PIXELS_OF.get(kind, MAX_PIXELS) for kind in kinds)


def check_size(size: tuple[int, int], max_pixels: int = MAX_PIXELS) -> None:
    """Refuse an image by its width and height in pixels, before it is decoded.

    Raises:
        ImageError: too many pixels, or sides that differ more than 100-fold.

    """
    width, height = size
    if width == height == 0:
        raise ImageError(ImageFault.DAMAGED, "0 x 0 pixels")
    if width * height > max_pixels:
        raise ImageError(
            ImageFault.TOO_LARGE,
            f"{width} x {height} pixels, more than the limit of "
            f"{max_pixels // 1_000_000} megapixels"
            f"{' of this kind of file' if max_pixels < MAX_PIXELS else ''}",
        )
    if max(size) > MAX_SIDE_RATIO * min(size):
        raise ImageError(
            ImageFault.TOO_NARROW,
            f"{width} x {height} pixels: one side is more than {MAX_SIDE_RATIO} times the other",
        )


@contextmanager
def faults_named(source: Path | bytes | None) -> Iterator[None]:
    """Turn what Pillow and the file system raise into an ImageError with path and reason."""
    try:
        yield
    except (ImageError, MemoryError, *DECODING_ERRORS) as error:
        # Its frames hold the photo, and under Python 3.13 one of them holds the error.
        error.__traceback__ = None
        raise _named(error, source) from None


def _named(error: Exception, source: Path | bytes | None) -> ImageError:
    path = source if isinstance(source, Path) else None
    if isinstance(error, ImageError):
        return ImageError(error.kind, error.reason, path)
    if isinstance(error, FileNotFoundError):
        return ImageError(ImageFault.MISSING, "no such file", path)
    if isinstance(error, UnidentifiedImageError):
        with faults_named(path):  # it may be gone by now
            return _unidentified(b"" if source is None else _head(source), path)
    if isinstance(error, Image.DecompressionBombError):
        limit = f"the limit of {MAX_PIXELS // 1_000_000} megapixels"
        return ImageError(ImageFault.TOO_LARGE, f"more than {limit}", path)
    if isinstance(error, MemoryError):
        return ImageError(ImageFault.TOO_LARGE, "takes more memory than there is", path)
    # Pillow's own have no number. Seeking to where no file can reach has EINVAL.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        reason = (error.strerror or str(error)).lower()
        return ImageError(ImageFault.UNREADABLE, f"cannot be read: {reason}", path)
    return ImageError(*_damage(error), path)


def _damage(error: Exception) -> tuple[ImageFault, str]:
    """What is wrong with bytes on which Pillow raised, and the words for it."""
    if "MAX_TEXT" in str(error):  # it has no other name for what it will not unpack
        return ImageFault.TOO_LARGE, (
            f"texts or a colour profile of more than {PngImagePlugin.MAX_TEXT_CHUNK >> 20} MiB. "
            "Save it without its metadata"
        )
    if isinstance(error, OSError) and error.errno == errno.EINVAL:
        return ImageFault.DAMAGED, "damaged image: it points to where no file reaches"
    return ImageFault.DAMAGED, f"damaged image: {str(error) or type(error).__name__}"


@contextmanager
def _stream(source: Path | bytes) -> Iterator[Rationed]:
    if isinstance(source, bytes):
        yield Rationed(io.BytesIO(source))
        return
    mode = source.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a folder's error names it
        # Opening a pipe would wait for ever, and a device may never end.
        raise ImageError(ImageFault.UNREADABLE, "cannot be read: no regular file")
    with source.open("rb") as stream:
        yield Rationed(stream)


def _head(source: Path | bytes) -> bytes:
    with _stream(source) as stream:
        return stream.read(16)  # as many as Pillow's plugins look at


def _unidentified(head: bytes, path: Path | None) -> ImageError:
    """Why no plugin took a file: it is none of theirs, or damaged before its size is told."""
    if not head:
        return ImageError(ImageFault.EMPTY, "the file is empty", path)
    for name in () if is_heic(head) else FORMATS:
        _, accepts = Image.OPEN.get(name, (None, None))
        if accepts is not None and accepts(head) is True:
            reason = f"damaged image, or a rare kind of {name}: its header cannot be read"
            return ImageError(ImageFault.DAMAGED, reason, path)
    reason = f"not an image in a known format{remark(path, head)}"
    return ImageError(ImageFault.NOT_AN_IMAGE, reason, path)


def codec_of(image: Image.Image) -> str:
    """Which decoder Pillow will take; "" where a plugin decodes by itself."""
    tile = getattr(image, "tile", None)
    return tile[0].codec_name if tile else ""


def _check_comments(stream: BinaryIO) -> None:
    """Refuse a plain PPM of little but comments."""
    before = stream.tell()
    comments = stream.read().count(b"#")
    stream.seek(before)
    if comments > MAX_COMMENTS:
        raise ImageError(
            ImageFault.TOO_LARGE,
            f"{comments} comments among its pixels, more than the limit of {MAX_COMMENTS}",
        )
