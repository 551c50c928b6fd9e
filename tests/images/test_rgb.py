"""What the numbers of a TIFF mean, which its tags tell."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from petclassify.errors import ImageError, ImageFault
from petclassify.images.photo import read_image

SIDE = 16
RAMP = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)


def tiff_of(planes: list[bytes], bits: int, **others: int) -> bytes:
    """An uncompressed little-endian TIFF, grey or in a plane a channel; other tags as t262=0."""
    count = len(planes)
    meaning = {262: 1 if count == 1 else 2} | {int(tag[1:]): v for tag, v in others.items()}
    places = [8 + sum(map(len, planes[:i])) for i in range(count)]
    shorts = {256: [SIDE], 257: [SIDE], 258: [bits] * count, 259: [1], 277: [count], 278: [SIDE]}
    shorts |= {284: [1 if count == 1 else 2], 273: places, 279: [*map(len, planes)]}
    shorts |= {tag: [value] for tag, value in meaning.items()}
    body = struct.pack("<2sHI", b"II", 42, 0) + b"".join(planes)
    rows = []
    for tag, values in sorted(shorts.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            packed, body = struct.pack("<I", len(body)), body + packed
        rows.append(struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0"))
    directory = struct.pack("<H", len(rows)) + b"".join(rows) + bytes(4)
    return body[:4] + struct.pack("<I", len(body)) + body[8:] + directory


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ((RAMP * 257).astype("<u2"), {}),
        ((65535 - RAMP * 257).astype("<u2"), {"t262": 0}),
        ((RAMP * 128).astype("<i2"), {"t339": 2}),
    ],
    ids=["as usual", "zero is white", "signed"],
)
def test_sixteen_bits_of_grey_mean_what_the_tags_say(
    values: np.ndarray, others: dict[str, int]
) -> None:
    read = read_image(tiff_of([values.tobytes()], 16, **others))
    np.testing.assert_array_equal(np.asarray(read)[..., 0], RAMP)


def test_twelve_bits_of_grey_are_scaled_too() -> None:
    pairs = (RAMP << 4).reshape(-1, 2).astype(np.uint32)
    packed = (pairs[:, 0] << 12 | pairs[:, 1]).astype(">u4").view(np.uint8).reshape(-1, 4)
    read = read_image(tiff_of([packed[:, 1:].tobytes()], 12))
    np.testing.assert_array_equal(np.asarray(read)[..., 0], RAMP)


def test_deep_colour_in_planes_which_pillow_mixes_up_is_refused() -> None:
    with pytest.raises(ImageError, match="planes of more than 8 bits") as refused:
        read_image(tiff_of([(RAMP * 257).astype("<u2").tobytes()] * 3, 16))
    assert refused.value.kind == ImageFault.NOT_AN_IMAGE
    read = read_image(tiff_of([RAMP.astype(np.uint8).tobytes()] * 3, 8))
    np.testing.assert_array_equal(np.asarray(read), np.stack([RAMP] * 3, axis=-1))
