"""Files that would keep a parser busy, or fill the memory, before a pixel is decoded."""

from __future__ import annotations

import struct
import time
import zlib
from pathlib import Path

import pytest

from petclassify.errors import ImageError, ImageFault
from petclassify.images.photo import read_image
from petclassify.images.rationed import MAX_PARTS, MAX_WHOLE_BYTES
from tests.images.hostile import SEEDS, encoded, png_chunk, scene
from tests.reliability import Attacks

MAX_SECONDS = 5.0  # of a processor
HUGE = 2 << 30  # bytes of a file that takes no disk

MANY_PARTS = {
    "padding between a JPEG's segments": b"\xff\xd8"
    + b"\xff" * 2 * MAX_PARTS
    + SEEDS["grey.jpg"][2:],
    "a comment of a PPM's header": b"P6 #" + b"x" * 2 * MAX_PARTS + b"\n1 1 255\nabc",
    "empty chunks of a PNG": SEEDS["deep.png"][:33]
    + png_chunk(b"abCd", b"") * MAX_PARTS
    + SEEDS["deep.png"][33:],
}
# The start of a file, then zeros.
LARGE_PARTS = {
    "WebP": SEEDS["exif.webp"],
    "AVIF": SEEDS["exif.avif"],
    "progressive JPEG": SEEDS["progressive.jpg"],
    "a chunk of a PNG": SEEDS["deep.png"][:33] + struct.pack(">I", HUGE - 999) + b"abCd",
    "a text of a PNG": SEEDS["deep.png"][:33] + struct.pack(">I", HUGE - 999) + b"iTXt",
}


@pytest.mark.attack("Photos")
@pytest.mark.parametrize("name", MANY_PARTS)
def test_a_file_of_very_many_parts_is_given_up(name: str, attack: Attacks) -> None:
    start = time.process_time()
    with attack(name, under="many parts"), pytest.raises(ImageError, match="parts") as refused:
        read_image(MANY_PARTS[name])
    assert refused.value.kind == ImageFault.TOO_LARGE
    assert time.process_time() - start < MAX_SECONDS


@pytest.mark.attack("Photos")
@pytest.mark.parametrize("name", LARGE_PARTS)
def test_a_part_as_large_as_the_memory_is_not_read(
    tmp_path: Path, name: str, attack: Attacks
) -> None:
    path = tmp_path / "photo"
    with path.open("wb") as stream:
        stream.write(LARGE_PARTS[name])
        stream.truncate(HUGE)
    with attack(name, under="large parts"), pytest.raises(ImageError, match="MiB") as refused:
        read_image(path)
    assert refused.value.kind == ImageFault.TOO_LARGE
    assert refused.value.path == path


@pytest.mark.parametrize("name", ["exif.jpg", "deep.png", "plain.tif"])
def test_what_follows_a_whole_photo_is_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / "photo"
    with path.open("wb") as stream:
        stream.write(SEEDS[name])
        stream.truncate(HUGE)
    assert read_image(path).tobytes() == read_image(SEEDS[name]).tobytes()


def test_a_colour_profile_of_megabytes_does_not_cost_the_photo() -> None:
    content = encoded(scene(), "TIFF", icc_profile=bytes(8 << 20))
    assert len(content) < MAX_WHOLE_BYTES
    assert read_image(content).size == (64, 48)


SMALL, PICTURE, COMMENT = SEEDS["grey.jpg"], SEEDS["deep.png"], SEEDS["still.gif"]
BOMB = zlib.compress(b"\xff" * (1 << 20))  # as much as Pillow unpacks, and no UTF-8
AFTER_PIXELS = PICTURE.rindex(b"IEND") - 4
AFTER_COLOURS = 13 + (3 << ((COMMENT[10] & 7) + 1))


def inserted(content: bytes, place: int, part: bytes, times: int) -> bytes:
    return content[:place] + part * times + content[place:]


def segment(code: int, content: bytes) -> bytes:
    return b"\xff" + bytes([code]) + struct.pack(">H", len(content) + 2) + content


# What one piece of metadata is that costs much, and where it goes in which file.
COSTLY = {
    "EXIF of a JPEG": (SMALL, 2, segment(0xE1, b"Exif\0\0" + bytes(99))),
    "Photoshop's of a JPEG": (SMALL, 2, segment(0xED, b"Photoshop 3.0\0" + bytes(99))),
    "texts of a PNG": (PICTURE, 33, png_chunk(b"zTXt", b"\0\0" + BOMB)),
    "international texts of a PNG": (PICTURE, 33, png_chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)),
    "profiles of a PNG": (PICTURE, 33, png_chunk(b"iCCP", b"k\0\0" + BOMB)),
    "profiles behind a PNG's pixels": (PICTURE, AFTER_PIXELS, png_chunk(b"iCCP", b"k\0\0" + BOMB)),
}
# More than 32 MiB in small parts, of which Pillow keeps each.
BULKY = {
    "segments of a JPEG": (SMALL, 2, segment(0xE3, bytes(65_000)), 520),
    "comments of a GIF": (
        COMMENT,
        AFTER_COLOURS,
        b"!\xfe" + (b"\xff" + bytes(255)) * 1000 + b"\0",
        140,
    ),
}


@pytest.mark.attack("Photos")
@pytest.mark.parametrize("name", COSTLY)
def test_metadata_in_very_many_pieces_are_given_up(name: str, attack: Attacks) -> None:
    content, place, piece = COSTLY[name]
    read = read_image(content).tobytes()
    assert read_image(inserted(content, place, piece, 20)).tobytes() == read
    start = time.process_time()
    with (
        attack(name, under="costly metadata"),
        pytest.raises(ImageError, match="more than 200 pieces of metadata") as refused,
    ):
        read_image(inserted(content, place, piece, 2000))
    assert refused.value.kind == ImageFault.TOO_LARGE
    assert time.process_time() - start < MAX_SECONDS


@pytest.mark.attack("Photos")
@pytest.mark.parametrize("name", BULKY)
def test_metadata_in_small_parts_do_not_fill_the_memory(name: str, attack: Attacks) -> None:
    content, place, part, times = BULKY[name]
    read_image(inserted(content, place, part, 9))
    with attack(name, under="bulky metadata"), pytest.raises(ImageError, match="32 MiB beside"):
        read_image(inserted(content, place, part, times))


EXIF = b"II*\0" + bytes(1 << 20)
MUCH_EXIF = {
    "PNG": inserted(PICTURE, 33, png_chunk(b"eXIf", EXIF), 1),
    "PNG, behind the pixels": inserted(PICTURE, AFTER_PIXELS, png_chunk(b"eXIf", EXIF), 1),
    "WebP": encoded(scene(), "WEBP", exif=EXIF),
    "AVIF": encoded(scene(), "AVIF", speed=10, exif=EXIF),
    "JPEG": inserted(SMALL, 2, segment(0xE1, b"Exif\0\0" + EXIF[:65_000]), 17),
}


@pytest.mark.attack("Photos")
@pytest.mark.parametrize("name", MUCH_EXIF)
def test_more_exif_than_cameras_write_is_refused(name: str, attack: Attacks) -> None:
    with (
        attack(name, under="bulky metadata"),
        pytest.raises(ImageError, match="more than 1 MiB of EXIF") as refused,
    ):
        read_image(MUCH_EXIF[name])
    assert refused.value.kind == ImageFault.TOO_LARGE
