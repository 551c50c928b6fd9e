"""JPEGs that a decoder would go over again and again."""

from __future__ import annotations

import struct

import pytest
from PIL import Image

from petclassify.errors import ImageError, ImageFault
from petclassify.images.photo import count_decoded_pixels, read_image, read_size
from tests.images.hostile import encoded, many_scans, scene
from tests.reliability import Attacks

SIDE = 2000
SCANS = 600  # of which each goes over 4 megapixels
HEAD = b"\xff\xd8"
END = b"\xff\xd9"


def segment(code: int, content: bytes) -> bytes:
    return b"\xff" + bytes([code]) + struct.pack(">H", len(content) + 2) + content


def one_channel_a_scan(side: int, scans: int, channels: int = 3) -> bytes:
    """A baseline JPEG of scans that have no data, of one channel each."""
    table = b"\1" + bytes(15) + b"\0"  # one code, of one bit
    tables = segment(0xDB, bytes(1) + b"\1" * 64)
    tables += segment(0xC4, b"\x00" + table) + segment(0xC4, b"\x10" + table)
    each = b"".join(bytes([number, 0x11, 0]) for number in range(1, channels + 1))
    frame = segment(0xC0, struct.pack(">BHHB", 8, side, side, channels) + each)
    numbers = (scan % channels + 1 for scan in range(scans))
    return HEAD + tables + frame + b"".join(map(one_scan, numbers)) + END


def one_scan(channel: int) -> bytes:
    return segment(0xDA, bytes([1, channel, 0, 0, 63, 0]))


def behind_a_bare_marker(side: int, scans: int) -> bytes:
    """A marker without a length, whose next bytes would be one of 65,498 bytes."""
    content = encoded(Image.new("RGB", (side, side), "teal"), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + (b"\xff\x01" + last) * scans + END


MANY_SCANS = {
    "a channel at a time": one_channel_a_scan(SIDE, SCANS),
    "behind a marker without a length": behind_a_bare_marker(SIDE, SCANS),
    "behind tables that are sent ahead": HEAD + END + many_scans(SIDE, SCANS),
}


@pytest.mark.attack("Photos")
@pytest.mark.parametrize("name", MANY_SCANS)
def test_scans_are_counted_wherever_they_hide(name: str, attack: Attacks) -> None:
    with (
        attack(name, under="many scans"),
        pytest.raises(ImageError, match=r"in 6\d\d scans, more than the limit of 2 giga") as found,
    ):
        read_image(MANY_SCANS[name])
    assert found.value.kind == ImageFault.TOO_LARGE


def test_channels_that_come_one_after_the_other_are_read() -> None:
    content = one_channel_a_scan(64, 3)
    assert read_image(content).size == (64, 64)
    assert read_image(content, shortest_side=8).size == (16, 16)


def test_of_channels_one_after_the_other_all_numbers_are_held() -> None:
    photo = scene(800, 800)
    several = encoded(photo, "MPO", save_all=True, append_images=[photo])
    assert count_decoded_pixels(one_channel_a_scan(800, 3), 50) == 640_000
    assert count_decoded_pixels(encoded(photo, "JPEG"), 50) == 10_000
    assert count_decoded_pixels(several, 50) == 10_000
    with pytest.raises(ImageError, match="6800 x 6800 pixels, more than the limit of 45 mega"):
        read_size(one_channel_a_scan(6800, 4, channels=4))


def test_the_first_scan_is_found_behind_much_else() -> None:
    plain = encoded(scene(800, 800), "JPEG")
    for between in (
        b"\xff" * 200,
        segment(0xFE, b"\xff\xda\0\x08\1" * 9000),
        segment(0xE1, bytes(65_000)) * 9,
    ):
        assert count_decoded_pixels(HEAD + between + plain[2:], 50) == 10_000


@pytest.mark.attack("Photos")
def test_a_first_scan_of_nothing_or_none_ends_the_search(attack: Attacks) -> None:
    plain = encoded(scene(), "JPEG")
    first = plain.index(b"\xff\xda")
    for name, content in {
        "of no channels": plain[: first + 4] + b"\0" + plain[first + 5 :],
        "cut off": plain[: first + 3],
        "none": plain[:first] + bytes(5000),
    }.items():
        with attack(name, under="many scans"), pytest.raises(ImageError, match="damaged"):
            read_image(content)
