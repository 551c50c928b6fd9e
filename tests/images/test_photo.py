from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFilter, UnidentifiedImageError

from petclassify.config import Resize
from petclassify.errors import ImageError, ImageFault
from petclassify.images.digests import digest_photo
from petclassify.images.photo import (
    count_decoded_pixels,
    read_image,
    read_pixels,
    read_size,
    to_pixels,
)
from petclassify.images.rgb import to_rgb
from tests.images.hostile import HOSTILE

RESIZE = Resize(shorter_side=256, crop=224, interpolation="bicubic")


def scene(width: int = 320, height: int = 240) -> Image.Image:
    """Smooth and asymmetric, so that every turn and flip shows."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (x * 255 / width, y * 255 / height, ((x - y) % 255))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


TURNED_BY_CAMERA = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
def test_every_exif_orientation_reads_as_the_same_pixels(
    orientation: int, image_format: str
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    turn = TURNED_BY_CAMERA[orientation]
    stored = scene() if turn is None else scene().transpose(turn)
    options = {"lossless": True} if image_format == "WEBP" else {}
    content = encoded(stored, image_format, exif=exif, **options)
    np.testing.assert_array_equal(np.asarray(read_image(content)), np.asarray(scene()))


def test_jpeg_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    content = encoded(scene().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    difference = np.asarray(read_image(content), int) - np.asarray(scene(), int)
    assert np.abs(difference).mean() < 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_damaged_exif_block_does_not_cost_the_photo() -> None:
    content = encoded(scene(), "JPEG", exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 30)
    assert read_image(content).size == (320, 240)


def test_alpha_lies_over_white() -> None:
    clear = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert read_image(encoded(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    assert read_image(encoded(half, "PNG")).getpixel((0, 0)) == (127, 127, 127)


def bmp_with_alpha(alpha: int) -> bytes:
    """Two red pixels in 32 bits, whose header says where their alpha is; the second's is told."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, 8, 2835, 2835, 0, 0) + masks
    header = header.ljust(108, b"\0")
    pixels = bytes([0, 0, 200, 0, 0, 0, 200, alpha])
    start = 14 + len(header)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + header + pixels


@pytest.mark.parametrize(
    "content",
    [bmp_with_alpha(0), encoded(Image.new("RGBA", (2, 1), (200, 0, 0, 0)), "TGA")],
    ids=["BMP", "TGA"],
)
def test_a_fourth_byte_that_is_zero_everywhere_is_no_alpha(content: bytes) -> None:
    assert read_image(content).getpixel((0, 0)) == (200, 0, 0)


def test_alpha_of_a_bitmap_that_says_something_is_kept() -> None:
    read = read_image(bmp_with_alpha(255))
    assert [read.getpixel((column, 0)) for column in (0, 1)] == [(255, 255, 255), (200, 0, 0)]


def test_palette_transparency_lies_over_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    read = read_image(encoded(image, "PNG", transparency=0))
    assert read.getpixel((0, 0)) == (255, 255, 255)
    assert read.getpixel((1, 0)) == (200, 100, 50)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for image_format in ("PNG", "TIFF", "PPM"):
        read = np.asarray(read_image(encoded(Image.fromarray(ramp), image_format)))
        np.testing.assert_allclose(read[..., 0].ravel(), np.arange(256), atol=1)
        assert read.shape == (16, 16, 3)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_size_told_is_that_of_the_photo_read(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = encoded(scene(), image_format, exif=exif)
    assert read_size(content) == read_image(content).size


def test_float_tiff_is_scaled() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    read = np.asarray(read_image(encoded(Image.fromarray(ramp), "TIFF")))
    np.testing.assert_allclose(read[..., 0].ravel(), np.arange(256), atol=1)


def test_cmyk_grey_and_palette_become_their_rgb() -> None:
    cmyk = read_image(encoded(scene().convert("CMYK"), "JPEG", quality=95))
    difference = np.asarray(cmyk, int) - np.asarray(scene(), int)
    assert np.abs(difference).mean() < 4
    grey = scene().convert("L")
    np.testing.assert_array_equal(
        np.asarray(read_image(encoded(grey, "PNG"))), np.asarray(grey.convert("RGB"))
    )
    palette = scene().quantize(64)
    np.testing.assert_array_equal(
        np.asarray(read_image(encoded(palette, "PNG"))), np.asarray(palette.convert("RGB"))
    )


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_frame_of_a_moving_picture_is_taken(image_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black")]
    content = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    assert read_image(content).getpixel((0, 0)) == (255, 255, 255)


REFUSED = {
    "empty": (b"", ImageFault.EMPTY),
    "text": (b"I am a cat, honestly", ImageFault.NOT_AN_IMAGE),
    "truncated": (encoded(scene(), "JPEG")[:3000], ImageFault.DAMAGED),
    "50,000 x 50,000": (png_header(50_000, 50_000), ImageFault.TOO_LARGE),
    "9,000 x 9,000": (png_header(9_000, 9_000), ImageFault.TOO_LARGE),
    "2 x 100,000": (png_header(2, 100_000), ImageFault.TOO_NARROW),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", ImageFault.NOT_AN_IMAGE),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_an_unusable_file_is_refused_by_its_true_fault(tmp_path: Path, name: str) -> None:
    content, fault = REFUSED[name]
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as from_file:
        read_image(path)
    assert from_file.value.kind == fault
    assert from_file.value.path == path
    assert str(path) in str(from_file.value)
    with pytest.raises(ImageError) as from_bytes:
        read_image(content)
    assert from_bytes.value.kind == fault


@pytest.mark.attack("Photos")
def test_a_file_longer_than_any_photo_is_not_digested(tmp_path: Path) -> None:
    """As training does, which would take minutes; predict reads no more of it than its pixels."""
    path = tmp_path / "photo.bmp"
    path.write_bytes(encoded(scene(), "BMP"))
    os.truncate(path, 200 << 30)
    assert read_image(path).size == (320, 240)
    fault = digest_photo(path)
    assert isinstance(fault, ImageError)
    assert (fault.kind, fault.path) == (ImageFault.TOO_LARGE, path)
    assert "204800 MiB, more than the limit of 1024 MiB" in str(fault)


@pytest.mark.attack("Photos")
def test_a_photo_is_refused_where_assertions_are_left_out(tmp_path: Path) -> None:
    """As PYTHONOPTIMIZE leaves them out; Pillow refuses some files by its own."""
    path = tmp_path / "photo.png"
    path.write_bytes(HOSTILE["no-palette.png"].content)
    code = f"from petclassify.images.photo import *; read_image(Path({str(path)!r}))"
    done = subprocess.run(
        [sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1].startswith("petclassify.errors.ImageError: ")


@pytest.mark.attack("Photos")
def test_a_file_that_goes_while_it_is_read_is_that_photos_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no plugin takes is opened once more, for its first bytes."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"no photo")

    def refuse(*_: object, **__: object) -> None:
        path.unlink()
        raise UnidentifiedImageError

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(ImageError, match="no such file") as gone:
        read_image(path)
    assert (gone.value.kind, gone.value.path) == (ImageFault.MISSING, path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as missing:
        read_image(tmp_path / "none.jpg")
    assert missing.value.kind == ImageFault.MISSING
    with pytest.raises(ImageError) as folder:
        read_image(tmp_path)
    assert folder.value.kind == ImageFault.UNREADABLE


def test_what_the_system_refuses_is_not_called_damage(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for path, why in {
        tmp_path / "file" / "x.jpg": "not a directory",
        tmp_path / "loop.jpg": "too many levels",
        tmp_path / ("x" * 300): "file name too long",
    }.items():
        with pytest.raises(ImageError, match=f"cannot be read: .*{why}") as refused:
            read_image(path)
        assert refused.value.kind == ImageFault.UNREADABLE


def test_pixels_are_those_of_resize_then_centre_crop() -> None:
    photo = scene(500, 375)
    resized = photo.resize((341, 256), Image.Resampling.BICUBIC)
    expected = resized.crop((58, 16, 282, 240))
    pixels = to_pixels(photo, RESIZE)
    assert pixels.shape == (224, 224, 3)
    assert pixels.dtype == np.uint8
    # The two differ by the rounding of 341.33 columns to 341, less than half a pixel.
    difference = np.abs(pixels.astype(int) - np.asarray(expected, int))
    assert np.median(difference) <= 1


def test_a_large_jpeg_is_decoded_smaller_and_gives_the_same_pixels() -> None:
    photo = scene(3000, 2250)
    content = encoded(photo, "JPEG", quality=95)
    assert min(read_image(content, shortest_side=256).size) >= 512
    assert read_image(content, shortest_side=256).width < 3000
    whole = to_pixels(read_image(content), RESIZE)
    reduced = read_pixels(content, RESIZE)
    assert np.abs(whole.astype(int) - reduced.astype(int)).mean() < 1


def test_what_is_decoded_of_a_photo_is_told_by_its_header() -> None:
    photo = scene(3000, 2000)
    baseline = encoded(photo, "JPEG")
    assert count_decoded_pixels(baseline, 256) == np.prod(read_image(baseline, 256).size)
    assert count_decoded_pixels(encoded(photo, "JPEG", progressive=True), 256) == 6_000_000
    assert count_decoded_pixels(encoded(photo, "BMP"), 256) == 6_000_000


def test_a_large_lab_image_is_reduced_before_its_slow_conversion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = scene(1600, 1200).filter(ImageFilter.GaussianBlur(4))
    content = encoded(photo.convert("LAB"), "TIFF")
    resize = Resize(128, 112, "bicubic")
    whole = to_pixels(read_image(content), resize).astype(int)
    converted: list[tuple[int, int]] = []

    def counting(image: Image.Image) -> Image.Image:
        converted.append(image.size)
        return to_rgb(image)

    monkeypatch.setattr("petclassify.images.photo.to_rgb", counting)
    assert np.abs(read_pixels(content, resize) - whole).mean() < 1
    assert converted == [(400, 300)]


def test_to_pixels_refuses_a_strip() -> None:
    with pytest.raises(ImageError, match="one side is more than 100 times the other"):
        to_pixels(Image.new("RGB", (1, 101)), RESIZE)


@pytest.mark.parametrize(("sample_format", "white"), [(1, 2**32 - 1), (2, 2**31 - 1)])
def test_deep_grey_is_scaled_by_the_range_that_its_tiff_says(
    tmp_path: Path, sample_format: int, white: int
) -> None:
    values = np.array([[0, white // 2, white]], np.uint32).repeat(8, axis=0).repeat(4, axis=1)
    path = tmp_path / "deep.tif"
    Image.fromarray(values.view(np.int32)).save(path)
    entry = struct.pack("<HHIH", ExifTags.Base.SampleFormat, 3, 1, 2)
    assert entry in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(entry, entry[:-2] + bytes([sample_format, 0])))
    read = np.asarray(read_image(path))
    assert read[0, 0].tolist() == [0, 0, 0]
    assert read[0, 5].tolist() == [127, 127, 127]
    assert read[0, -1].tolist() == [255, 255, 255]


def test_an_orientation_that_exif_does_not_know_turns_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 9
    Image.new("RGB", (40, 20)).save(tmp_path / "nine.jpg", exif=exif)
    assert read_size(tmp_path / "nine.jpg") == read_image(tmp_path / "nine.jpg").size == (40, 20)


def test_the_largest_photo_of_every_kind_counts_alike() -> None:
    photo = Image.new("RGB", (400, 100))
    assert count_decoded_pixels(encoded(photo, "BMP"), 256) == 40_000
    assert count_decoded_pixels(encoded(photo, "WEBP"), 256) == 100_000


def test_sixteen_bits_in_memory_read_as_their_file_does() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    content = encoded(Image.fromarray(ramp), "PNG")
    expected = np.asarray(read_image(content))
    assert np.array_equal(np.asarray(to_rgb(Image.fromarray(ramp))), expected)
    with Image.open(io.BytesIO(content)) as opened:
        assert np.array_equal(np.asarray(to_rgb(opened.copy())), expected)


def test_negative_numbers_of_an_array_are_black() -> None:
    values = np.full((4, 4), -5, np.int32)
    values[0, 0] = 60_000
    read = np.asarray(to_rgb(Image.fromarray(values)))
    assert read[0, 0, 0] == 60_000 >> 8
    assert read[1, 1, 0] == 0


def test_of_a_high_strip_only_the_window_is_made_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (7000, 70, 3), dtype=np.uint8)
    strip, resize_whole = Image.fromarray(noise), Image.Image.resize
    middle = strip.crop((0, 3000, 70, 4000))
    rows: list[int] = []

    def resized(image: Image.Image, size: tuple[int, int], *how: object, **box: object) -> object:
        rows.append(size[1])
        return resize_whole(image, size, *how, **box)

    monkeypatch.setattr(Image.Image, "resize", resized)
    for resize in (Resize(585, 512, "lanczos"), Resize(70, 35, "bicubic")):
        np.testing.assert_array_equal(to_pixels(strip, resize), to_pixels(middle, resize))
    assert max(rows) <= 512


def test_a_png_whose_pixels_have_another_sum_is_damaged() -> None:
    noise = np.random.default_rng(0).integers(0, 100, (120, 160, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), "PNG")
    assert read_image(content).size == (160, 120)
    half = len(content) // 2
    for spoilt in (
        content[:half] + bytes(len(content) - half),  # as a download of a known length leaves it
        content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :],
    ):
        with pytest.raises(ImageError, match=r"damaged image: ") as refused:
            read_image(spoilt)
        assert refused.value.kind == ImageFault.DAMAGED


def test_grey_that_is_multiplied_by_its_alpha_lies_over_white() -> None:
    half = Image.new("LA", (8, 8), (100, 128))
    assert np.asarray(to_rgb(half.convert("La")))[0, 0, 0] in (177, 178)
    assert np.asarray(to_rgb(half))[0, 0, 0] == 177
