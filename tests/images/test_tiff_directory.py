"""TIFFs whose few bytes would be millions of Python's objects, or hours of decoding."""

from __future__ import annotations

import struct

import pytest

from petclassify.errors import ImageError, ImageFault
from petclassify.images.photo import read_image
from petclassify.images.tiff_directory import MAX_VALUES
from tests.reliability import Attacks

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow says what it misses

SHORT, LONG, RATIONAL, BYTE = 3, 4, 5, 1
PIXELS = b"abc"


def tiff(
    tags: dict[int, tuple[int, list[int]]],
    order: str = "<",
    *,
    big: bool = False,
    pixels: bytes = PIXELS,
) -> bytes:
    """A TIFF of these tags and pixels, which lie at 16; a fraction is its value over 1."""
    word = "Q" if big else "L"
    signs = {SHORT: "H", LONG: "L", BYTE: "B"}
    body = bytearray(16) + pixels
    rows = b""
    for tag, (kind, values) in sorted(tags.items()):
        if kind == RATIONAL:
            packed = b"".join(struct.pack(f"{order}LL", value, 1) for value in values)
        else:
            packed = struct.pack(f"{order}{len(values)}{signs[kind]}", *values)
        inline = struct.calcsize(order + word)
        if len(packed) > inline:
            packed, place = struct.pack(order + word, len(body)), packed
            body += place
        rows += struct.pack(f"{order}HH{word}", tag, kind, len(values)) + packed.ljust(
            inline, b"\0"
        )
    mark = b"II" if order == "<" else b"MM"
    if big:
        head = struct.pack(f"{order}2sHHHQ", mark, 43, 8, 0, len(body))
    else:
        head = struct.pack(f"{order}2sHL", mark, 42, len(body))
    body[: len(head)] = head
    count = struct.pack(f"{order}{'Q' if big else 'H'}", len(tags))
    return bytes(body) + count + rows + bytes(8)


def colours(side: int, **others: tuple[int, list[int]]) -> dict[int, tuple[int, list[int]]]:
    """The tags of a square in RGB; others as t322=(SHORT, [1])."""
    tags = {256: [side], 257: [side], 258: [8, 8, 8], 259: [1], 262: [2], 277: [3], 284: [1]}
    more = {int(name[1:]): tag for name, tag in others.items()}
    return {tag: (SHORT, values) for tag, values in tags.items()} | more


def in_tiles(side: int, places: int, kind: int) -> dict[int, tuple[int, list[int]]]:
    """The tags of a square in tiles of one pixel, all the same one."""
    return colours(side, t322=(SHORT, [1]), t323=(SHORT, [1]), t324=(kind, [16] * places))


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize("kind", [BYTE, SHORT, LONG])
@pytest.mark.attack("Photos")
def test_very_many_tiles_are_refused_before_any_is_decoded(
    kind: int, order: str, big: bool, attack: Attacks
) -> None:
    few = tiff(in_tiles(8, 64, kind), order, big=big)
    assert read_image(few).getpixel((7, 7)) == tuple(PIXELS)
    many = tiff(in_tiles(400, 400 * 400, kind), order, big=big)
    with (
        attack(f"tiles of {kind} {order} {big}", under="many parts"),
        pytest.raises(ImageError, match="160,000 strips or tiles, more than the limit") as refused,
    ):
        read_image(many)
    assert refused.value.kind == ImageFault.TOO_LARGE


@pytest.mark.attack("Photos")
def test_very_many_numbers_of_one_tag_are_refused(attack: Attacks) -> None:
    one_strip = {"t273": (LONG, [16]), "t278": (SHORT, [1])}
    read_image(tiff(colours(1, t282=(RATIONAL, [1] * 99), **one_strip)))
    many = tiff(colours(1, t282=(RATIONAL, [1] * (MAX_VALUES + 1)), **one_strip))
    with (
        attack("resolutions", under="many parts"),
        pytest.raises(ImageError, match="values of tag 282") as refused,
    ):
        read_image(many)
    assert refused.value.kind == ImageFault.TOO_LARGE


@pytest.mark.attack("Photos")
def test_tiles_that_lie_over_the_picture_again_and_again_are_refused(attack: Attacks) -> None:
    overlapping = {"t322": (SHORT, [2]), "t323": (SHORT, [1]), "t258": (SHORT, [8, 8, 8])}
    once = tiff(colours(1, t324=(LONG, [16]), **overlapping))
    assert read_image(once).size == (1, 1)
    often = tiff(colours(1, t324=(LONG, [16] * 3), **overlapping))
    with (
        attack("overlapping", under="many parts"),
        pytest.raises(ImageError, match="more than 2 times over") as refused,
    ):
        read_image(often)
    assert refused.value.kind == ImageFault.TOO_LARGE


@pytest.mark.parametrize(
    "content", [b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_directory_that_is_cut_off_is_left_to_the_decoder(content: bytes) -> None:
    with pytest.raises(ImageError) as refused:
        read_image(content)
    assert refused.value.kind == ImageFault.DAMAGED


def test_lzma_which_is_slow_is_unpacked_for_fewer_pixels() -> None:
    tags = colours(1, t256=(SHORT, [4000]), t257=(SHORT, [2501]), t259=(SHORT, [34925]))
    with pytest.raises(ImageError, match="limit of 10 megapixels of this kind") as refused:
        read_image(tiff(tags | {273: (LONG, [16])}))
    assert refused.value.kind == ImageFault.TOO_LARGE
