"""Files that would keep a parser busy, or fill the memory, before a pixel is decoded."""

from __future__ import annotations

import struct
import time
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
