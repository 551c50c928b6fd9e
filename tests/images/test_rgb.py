"""What the numbers of a TIFF mean, which its tags tell."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from petclassify.errors import ImageError, ImageFault
from petclassify.images.photo import read_image, upright_rgb_of
from tests.images.hostile import png, png_chunk
from tests.images.test_tiff_directory import SHORT, tiff

SIDE = 16
RAMP = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)


def tiff_of(planes: list[bytes], bits: int, order: str = "<", **others: int) -> bytes:
    """A TIFF, grey or in a plane a channel, uncompressed if no tag says else; tags as t262=0."""
    count = len(planes)
    meaning = {262: 1 if count == 1 else 2} | {int(tag[1:]): v for tag, v in others.items()}
    places = [8 + sum(map(len, planes[:i])) for i in range(count)]
    shorts = {256: [SIDE], 257: [SIDE], 258: [bits] * count, 259: [1], 277: [count], 278: [SIDE]}
    shorts |= {284: [1 if count == 1 else 2], 273: places, 279: [*map(len, planes)]}
    shorts |= {tag: [value] for tag, value in meaning.items()}
    mark = b"II" if order == "<" else b"MM"
    body = struct.pack(f"{order}2sHI", mark, 42, 0) + b"".join(planes)
    rows = []
    for tag, values in sorted(shorts.items()):
        packed = struct.pack(f"{order}{len(values)}H", *values)
        if len(packed) > 4:
            packed, body = struct.pack(f"{order}I", len(body)), body + packed
        rows.append(struct.pack(f"{order}HHI", tag, 3, len(values)) + packed.ljust(4, b"\0"))
    directory = struct.pack(f"{order}H", len(rows)) + b"".join(rows) + bytes(4)
    return body[:4] + struct.pack(f"{order}I", len(body)) + body[8:] + directory


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


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("values", "kind", "sample_format"),
    [(RAMP * 128 + 3, "i2", 2), ((RAMP.astype(np.int64) << 23) + 3, "i4", 2), (RAMP, "f4", 3)],
    ids=["signed 16", "signed 32", "float"],
)
@pytest.mark.attack("Equal pixels")
def test_deep_grey_means_the_same_in_either_byte_order(
    values: np.ndarray, kind: str, sample_format: int, compressed: bool, order: str
) -> None:
    content = values.astype(order + kind).tobytes()
    tags = {"t339": sample_format, "t259": 8 if compressed else 1}
    bits = 8 * int(kind[1])
    written = tiff_of([zlib.compress(content) if compressed else content], bits, order, **tags)
    np.testing.assert_array_equal(np.asarray(read_image(written))[..., 0], RAMP)
    np.testing.assert_array_equal(_opened_by_pillow(written)[..., 0], RAMP)


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "CMYK"])
@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.attack("Equal pixels")
def test_a_tiff_lying_on_its_side_is_the_same_to_whoever_opens_it(
    tmp_path: Path, mode: str, orientation: int
) -> None:
    wide = Image.fromarray(np.hstack([RAMP, RAMP[::-1]]).astype(np.uint8))
    wide = Image.fromarray(np.asarray(wide) * np.uint16(257)) if mode == "I;16" else wide
    path = tmp_path / "side.tif"
    wide.convert(mode).save(path, tiffinfo={ExifTags.Base.Orientation: orientation})
    with Image.open(path) as image:  # by its name, which lets Pillow map the file into memory
        found = np.asarray(upright_rgb_of(image))
        assert image.filename == str(path)
    np.testing.assert_array_equal(found, np.asarray(read_image(path)))


@pytest.mark.attack("Equal pixels")
def test_floats_of_which_zero_is_white_are_turned_round() -> None:
    read = read_image(tiff_of([(255 - RAMP).astype("<f4").tobytes()], 32, t262=0, t339=3))
    np.testing.assert_array_equal(np.asarray(read)[..., 0], RAMP)


@pytest.mark.attack("Equal pixels")
def test_bytes_with_signs_which_pillow_takes_for_unsigned_are_refused() -> None:
    with pytest.raises(ImageError, match="numbers have signs") as refused:
        read_image(tiff_of([(RAMP // 2).astype("i1").tobytes()], 8, t339=2))
    assert refused.value.kind == ImageFault.NOT_AN_IMAGE


def test_deep_colour_in_planes_which_pillow_mixes_up_is_refused() -> None:
    with pytest.raises(ImageError, match="planes of more than 8 bits") as refused:
        read_image(tiff_of([(RAMP * 257).astype("<u2").tobytes()] * 3, 16))
    assert refused.value.kind == ImageFault.NOT_AN_IMAGE
    read = read_image(tiff_of([RAMP.astype(np.uint8).tobytes()] * 3, 8))
    np.testing.assert_array_equal(np.asarray(read), np.stack([RAMP] * 3, axis=-1))


@pytest.mark.parametrize("unit", [1, 257], ids=["of 8 bits", "of 16 bits"])
@pytest.mark.attack("Equal pixels")
def test_a_palette_means_the_same_in_eight_bits_as_in_sixteen(unit: int) -> None:
    colours = np.stack([np.arange(256), np.arange(256)[::-1], np.full(256, 128)])
    tags = {tag: (SHORT, [value]) for tag, value in ((256, 256), (257, 3), (258, 8), (259, 1))}
    tags |= {262: (SHORT, [3]), 273: (SHORT, [16]), 277: (SHORT, [1]), 278: (SHORT, [3])}
    tags |= {320: (SHORT, [int(number) * unit for number in colours.ravel()])}
    read = np.asarray(read_image(tiff(tags, pixels=bytes(range(256)) * 3)))
    np.testing.assert_array_equal(read[0], colours.T)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.attack("Equal pixels")
def test_grey_and_alpha_in_planes_of_which_pillow_reads_the_first_are_refused(
    compressed: bool,
) -> None:
    plane = np.full((SIDE, SIDE), 255, np.uint8).tobytes()
    planes = [zlib.compress(plane) if compressed else plane] * 2
    with pytest.raises(ImageError, match="its grey and its alpha lie in planes") as refused:
        read_image(tiff_of(planes, 8, t262=1, t259=8 if compressed else 1, t338=2))
    assert refused.value.kind == ImageFault.NOT_AN_IMAGE


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.attack("Photos")
def test_a_tiff_without_its_last_strips_is_damaged(planes: int) -> None:
    pixels = [RAMP.astype(np.uint8).tobytes()] * planes
    assert read_image(tiff_of(pixels, 8)).size == (SIDE, SIDE)
    with pytest.raises(ImageError, match="it lacks strips or tiles") as refused:
        read_image(tiff_of(pixels, 8, t278=SIDE // 2))
    assert refused.value.kind == ImageFault.DAMAGED


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.attack("Equal pixels")
def test_the_transparent_value_of_a_grey_png_lies_over_white(bits: int) -> None:
    values = RAMP * (257 if bits == 16 else 1)
    rows = values.astype(f">u{bits // 8}")
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    clear = png_chunk(b"tRNS", struct.pack(">H", int(values[3, 5])))
    read = np.asarray(read_image(png(SIDE, SIDE, bits=bits, kind=0, data=data, extra=clear)))
    expected = RAMP.copy()
    expected[3, 5] = 255
    np.testing.assert_array_equal(read[..., 0], expected)


def _opened_by_pillow(content: bytes) -> np.ndarray:
    """What `upright_rgb_of` makes of a file that its user opened."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(upright_rgb_of(image))


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.attack("Equal pixels")
def test_the_transparent_value_of_few_bits_of_grey_lies_over_white(bits: int) -> None:
    most, clear = (1 << bits) - 1, (1 << bits) // 2 - 1
    values = RAMP % (most + 1)
    expanded = (values[..., None] >> np.arange(bits)[::-1] & 1).reshape(SIDE, -1).astype(np.uint8)
    data = b"".join(b"\0" + row.tobytes() for row in np.packbits(expanded, axis=1))
    key = png_chunk(b"tRNS", struct.pack(">H", clear))
    content = png(SIDE, SIDE, bits=bits, kind=0, data=data, extra=key)
    expected = np.where(values == clear, 255, values * (255 // most))
    np.testing.assert_array_equal(np.asarray(read_image(content))[..., 0], expected)
    np.testing.assert_array_equal(_opened_by_pillow(content)[..., 0], expected)


@pytest.mark.attack("Equal pixels")
def test_the_transparent_colour_of_sixteen_bits_lies_over_white_and_no_other_does() -> None:
    grey, black = 0x8000, 0
    values = np.full((SIDE, SIDE, 3), black)
    values[: SIDE // 2] = grey
    data = b"".join(b"\0" + row.tobytes() for row in values.astype(">u2"))
    key = png_chunk(b"tRNS", struct.pack(">HHH", grey, grey, grey))
    content = png(SIDE, SIDE, bits=16, kind=2, data=data, extra=key)
    expected = np.where(values == grey, 255, 0)
    np.testing.assert_array_equal(np.asarray(read_image(content)), expected)
    np.testing.assert_array_equal(_opened_by_pillow(content), expected)
