"""Odd and hostile images, made here: what each is, and what becomes of it.

`HOSTILE` names every kind that the design speaks of, and some that only an attacker would
make. `SEEDS` are good images in all formats, small, for `mutated` to spoil.
"""

from __future__ import annotations

import gzip
import io
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from petclassify.errors import ImageFault

PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Hostile:
    """The bytes of one file, and the fault it is refused by; None: it is a good image."""

    content: bytes
    fault: ImageFault | None


def scene(width: int = 64, height: int = 48) -> Image.Image:
    """Smooth and asymmetric, so that every turn and flip shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """An image file's bytes."""
    stream = io.BytesIO()
    image.save(stream, format=image_format, **options)
    return stream.getvalue()


def turned(orientation: int) -> Image.Exif:
    """EXIF that says how the camera was held."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Length, kind, content, checksum."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(
    width: int, height: int, *, bits: int = 8, kind: int = 2, data: bytes = b"", extra: bytes = b""
) -> bytes:
    """A PNG by hand; kind 0 is grey, 2 is RGB. `data` is what its rows hold, filters included."""
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return (
        PNG_START
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(data))
        + png_chunk(b"IEND", b"")
    )


def many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan, which takes 77 bytes and all pixels."""
    content = encoded(Image.new("RGB", (side, side), "teal"), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * (scans - content.count(b"\xff\xda")) + b"\xff\xd9"


def tiff(width: int, height: int, **others: tuple[int, int]) -> bytes:
    """The header of a little-endian TIFF in RGB, and 99 bytes of pixels that are none.

    Args:
        width: in pixels.
        height: in pixels.
        others: tags as t278=(type, value).

    """
    tags = {256: (4, width), 257: (4, height), 258: (3, 8), 259: (3, 5), 262: (3, 2)}
    tags |= {273: (4, 8), 277: (3, 3), 278: (4, height), 279: (4, 99)}
    tags |= {int(name[1:]): value for name, value in others.items()}
    rows = [
        struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(tags.items())
    ]
    directory = struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + 99) + b"\x80" * 99 + directory


def _zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("cat.jpg", b"meow")
    return stream.getvalue()


def _next_is_itself(content: bytes) -> bytes:
    """A little-endian TIFF whose directory, at its usual place, is followed by itself."""
    (tags,) = struct.unpack_from("<H", content, 8)
    end = 8 + 2 + 12 * tags
    return content[:end] + struct.pack("<I", 8) + content[end + 4 :]


def _pixels_beyond_all() -> bytes:
    """A BigTIFF whose pixels lie at 2^64 - 1, where no seek goes."""
    content = encoded(scene(), "TIFF", big_tiff=True)
    place = content.index(struct.pack("<H", 273))
    return content[: place + 2] + struct.pack("<HQQ", 16, 1, 2**64 - 1) + content[place + 20 :]


def _no_time() -> bytes:
    """A moving AVIF whose clock has no ticks in a second."""
    content = encoded(scene(), "AVIF", speed=10, save_all=True, append_images=[scene()])
    place = content.index(b"mdhd") + (24 if content[content.index(b"mdhd") + 4] else 16)
    return content[:place] + bytes(4) + content[place + 4 :]


def run_length_bmp(width: int, height: int, runs: bytes) -> bytes:
    """A BMP of 8 bits, of which Pillow decodes the runs in Python."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 2, 0)
    palette = b"\0\0\0\0\xff\xff\xff\0"
    return b"BM" + struct.pack("<IHHI", 62 + len(runs), 0, 0, 62) + header + palette + runs


def _seeds() -> dict[str, bytes]:
    photo = scene()
    clear = photo.copy()
    clear.putalpha(photo.getchannel(0))
    deep = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20
    exif = turned(6)
    moving = {"save_all": True, "append_images": [clear]}
    return {
        "exif.jpg": encoded(photo, "JPEG", exif=exif),
        "progressive.jpg": encoded(photo, "JPEG", progressive=True),
        "cmyk.jpg": encoded(photo.convert("CMYK"), "JPEG"),
        "grey.jpg": encoded(photo.convert("L"), "JPEG"),
        "several.mpo": encoded(photo, "MPO", save_all=True, append_images=[photo]),
        "exif.png": encoded(photo, "PNG", exif=exif),
        "deep.png": encoded(Image.fromarray(deep), "PNG"),
        "alpha.png": encoded(clear, "PNG"),
        "grey-alpha.png": encoded(clear.convert("LA"), "PNG"),
        "palette.png": encoded(photo.quantize(9), "PNG", transparency=2),
        "one-bit.png": encoded(photo.convert("1"), "PNG"),
        "moving.png": encoded(photo, "PNG", **moving),
        "still.gif": encoded(photo, "GIF"),
        "moving.gif": encoded(photo, "GIF", **moving),
        "exif.webp": encoded(photo, "WEBP", exif=exif),
        "alpha.webp": encoded(clear, "WEBP", lossless=True),
        "moving.webp": encoded(photo, "WEBP", **moving),
        "plain.bmp": encoded(photo, "BMP"),
        "palette.bmp": encoded(photo.quantize(99), "BMP"),
        "alpha.bmp": encoded(clear, "BMP"),
        "plain.tif": encoded(photo, "TIFF", exif=exif),
        "lzw.tif": encoded(photo, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encoded(photo, "TIFF", compression="jpeg"),
        "deflate.tif": encoded(clear, "TIFF", compression="tiff_adobe_deflate"),
        "packbits.tif": encoded(photo, "TIFF", compression="packbits"),
        "fax.tif": encoded(photo.convert("1"), "TIFF", compression="group4"),
        "float.tif": encoded(Image.fromarray(deep.astype(np.float32)), "TIFF"),
        "integer.tif": encoded(Image.fromarray(deep.astype(np.int32)), "TIFF"),
        "lab.tif": encoded(photo.convert("LAB"), "TIFF"),
        "pages.tif": encoded(photo, "TIFF", **moving),
        "exif.avif": encoded(photo, "AVIF", exif=exif, speed=10),
        "alpha.avif": encoded(clear, "AVIF", speed=10),
        "plain.ppm": encoded(photo, "PPM"),
        "runs.bmp": run_length_bmp(64, 48, (b"\x40\1\0\0" * 48) + b"\0\1"),
        "ten-bit.pgm": b"P5 64 48 1023\n" + b"\1\xff" * 64 * 48,
        "text.pgm": b"P2\n4 3\n9\n1 2 3 4 5 6 7 8 9 1 2 3\n",
        "float.ppm": encoded(Image.fromarray(deep.astype(np.float32)), "PPM"),
        "runs.tga": encoded(photo, "TGA", compression="tga_rle"),
        "alpha.tga": encoded(clear, "TGA"),
    }


SEEDS = _seeds()


def _hostile() -> dict[str, Hostile]:
    whole = encoded(scene(320, 240), "JPEG", quality=95)
    small = SEEDS["exif.png"]
    refused = {
        ImageFault.EMPTY: {"empty.jpg": b""},
        ImageFault.NOT_AN_IMAGE: {
            "zeros.jpg": bytes(5000),
            "text.jpg": b"I am a cat, honestly\n" * 50,
            "page.jpg": b"<!doctype html><title>404</title>",
            "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
            "document.jpg": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
            "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "archive.jpg": _zip(),
            "packed.jpg": gzip.compress(whole),
            "pickle.png": pickle.dumps({"cat": 1}),
            "program.jpg": b"\x7fELF\x02\x01\x01" + bytes(200),
            "two-bytes.jpg": b"\xff\xd8",
            # These two have a width, a height and a depth, read as a TGA.
            "icon.jpg": struct.pack("<3H4B2H2I", 0, 1, 1, 0, 0, 0, 0, 1, 32, 0x8004A, 22) * 5000,
            "cursor.jpg": struct.pack("<3H4B2H2I", 0, 2, 1, 0, 0, 0, 0, 9, 9, 0x4F20004A, 22)
            * 5000,
        },
        ImageFault.DAMAGED: {
            "truncated.jpg": whole[:3000],
            "start-only.png": PNG_START,
            "no-size.png": png(0, 0),
            "no-frame.gif": b"GIF89a\x01\0\x01\0\0\0\0;",
            "endless.ppm": b"P6 " + b"9" * 60,
            "loop.tif": struct.pack("<2sHIHI", b"II", 42, 8, 0, 8),
            "truncated.png": small[: len(small) // 2],
            "no-pixels.png": png(64, 48),
            "wrong-checksum.png": small.replace(b"IDAT", b"IDAU"),
            "no-palette.png": png(8, 8, kind=3, data=bytes(72)),
            "no-time.avif": _no_time(),
            "pixels-elsewhere.tif": tiff(64, 48, t273=(4, 0x7FFFFFF0)),
            "pixels-beyond-all.tif": _pixels_beyond_all(),
            "pixels-that-are-none.tif": tiff(64, 48),
        },
        ImageFault.TOO_LARGE: {
            "50000-squared.png": png(50_000, 50_000),
            "9000-squared.png": png(9_000, 9_000),
            "65535-squared.gif": b"GIF89a" + b"\xff" * 4 + SEEDS["still.gif"][10:],
            "20-gigapixels.ppm": b"P6 200000 100000 255\n",
            "9000-squared.tif": tiff(9_000, 9_000),
            "6000-squared.webp": encoded(Image.new("RGB", (6000, 4000)), "WEBP", method=0),
            "huge-tile.tif": tiff(
                64, 48, t322=(4, 60_000), t323=(4, 60_000), t324=(4, 8), t325=(4, 9)
            ),
            "many-scans.jpg": many_scans(2000, 2000),
            "many-runs.bmp": run_length_bmp(7000, 7000, b"\1\1\0\0" * 7000),
            "odd-depth.ppm": b"P6 7000 7000 254\n" + bytes(99),
            "much-text.pgm": b"P2 7000 7000 255\n" + b"1 " * 99,
            "comments.pbm": b"P1 700 700\n" + b"#\n" * 150_000,
            "text-bomb.png": png(
                8,
                8,
                data=bytes(200),
                extra=png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(9_000_000))),
            ),
            "profile.png": png(
                8,
                8,
                data=bytes(200),
                extra=png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(2_000_000))),
            ),
        },
        ImageFault.TOO_NARROW: {
            "2-by-100000.png": png(2, 100_000),
            "101-by-1.png": encoded(Image.new("L", (101, 1)), "PNG"),
        },
    }
    good = SEEDS | {
        "one-pixel.png": encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
        "100-by-1.png": encoded(Image.new("L", (100, 1)), "PNG"),
        "named-otherwise.jpg": small,
        "tail.jpg": whole + _zip(),
        "odd-exif.jpg": encoded(
            scene(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 30
        ),
        "orientation-9.jpg": encoded(scene(), "JPEG", exif=turned(9)),
        "next-is-itself.tif": _next_is_itself(SEEDS["plain.tif"]),
        "restarts.jpg": encoded(scene(), "JPEG", restart_marker_blocks=1),
        "thumbnail-bytes.jpg": encoded(
            scene(), "JPEG", progressive=True, comment=b"\xff\xda" * 9000
        ),
        "nothing-but-nan.tif": encoded(
            Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"
        ),
        "infinite.tif": encoded(Image.fromarray(np.full((8, 8), np.inf, np.float32)), "TIFF"),
    }
    cases = {name: Hostile(content, None) for name, content in good.items()}
    for fault, files in refused.items():
        cases |= {name: Hostile(content, fault) for name, content in files.items()}
    for name in ("still.gif", "exif.webp", "plain.bmp", "lzw.tif", "plain.ppm", "alpha.tga"):
        content = SEEDS[name]
        cases["half-" + name] = Hostile(content[: len(content) // 2], ImageFault.DAMAGED)
    return cases


HOSTILE = _hostile()

_NUMBERS = (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x01")


def mutated(content: bytes, seed: str) -> bytes:
    """Spoil a file: flipped, changed, removed, repeated and random bytes, or its end cut off."""
    chance = random.Random(seed)
    spoilt = bytearray(content)
    if chance.random() < 0.1:
        return content[: chance.randrange(len(content))]
    reach = 200 if chance.random() < 0.5 else len(content)  # headers decide most
    for _ in range(chance.choice((1, 1, 2, 4, 8, 32))):
        place = chance.randrange(min(len(spoilt), reach))
        kind = chance.randrange(6)
        if kind == 0:
            spoilt[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            spoilt[place] = chance.randrange(256)
        elif kind == 2:
            spoilt[place : place + 4] = chance.choice(_NUMBERS)
        elif kind == 3:
            del spoilt[place : min(place + chance.randrange(1, 20), len(spoilt) - 1)]
        elif kind == 4:
            start = chance.randrange(len(spoilt))
            spoilt[place:place] = spoilt[start : start + chance.randrange(1, 40)]
        else:
            spoilt[place:place] = chance.randbytes(chance.randrange(1, 9))
    return bytes(spoilt)


def with_other_tags(content: bytes) -> Iterator[bytes]:
    """A little-endian TIFF, with each tag of its first directory in other types and counts."""
    (start,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, start)
    for entry in range(start + 2, start + 2 + 12 * tags, 12):
        for kind in range(14):
            for count in (0, 1, 3, 0xFFFFFFFF):
                yield content[: entry + 2] + struct.pack("<HI", kind, count) + content[entry + 8 :]
