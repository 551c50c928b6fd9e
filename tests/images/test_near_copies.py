from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from petclassify.images.near_copies import (
    DECODED_SIDE,
    SIDE,
    connected,
    near_pairs,
    to_thumbnail,
)
from petclassify.images.photo import read_image
from petclassify.images.walk import walk_images


def recompressed(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def shrunk(image: Image.Image, by: int) -> Image.Image:
    return image.resize((image.width // by, image.height // by), Image.Resampling.BICUBIC)


CHANGES = {
    "mirrored": lambda image: recompressed(ImageOps.mirror(image), 90),
    "halved": lambda image: recompressed(shrunk(image, 2), 90),
    "quality 30": lambda image: recompressed(image, 30),
    "all three": lambda image: recompressed(shrunk(ImageOps.mirror(image), 2), 30),
    "a quarter": lambda image: recompressed(shrunk(image, 4), 90),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_changed_copy_is_found_and_nothing_else(drawn_pets: Path, change: str) -> None:
    paths = list(walk_images(drawn_pets))
    copies = [CHANGES[change](read_image(path)) for path in paths]
    thumbnails = [to_thumbnail(read_image(one, DECODED_SIDE)) for one in [*paths, *copies]]
    found = {(pair.first, pair.second) for pair in near_pairs(np.stack(thumbnails))}
    assert found == {(place, place + len(paths)) for place in range(len(paths))}


def test_pairs_far_apart_in_a_large_set_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 256, (1300, SIDE, SIDE), dtype=np.uint8)
    thumbnails[1200] = thumbnails[10]
    thumbnails[700] = thumbnails[600][:, ::-1]
    for most in (8_000_000, 300_000, 1):  # compared at once: with all, with many, with one
        monkeypatch.setattr("petclassify.images.near_copies._MAX_COMPARED", most)
        monkeypatch.setattr("petclassify.images.near_copies._AT_ONCE", min(most, 1000))
        pairs = [(pair.first, pair.second) for pair in near_pairs(thumbnails)]
        assert pairs == [(10, 1200), (600, 700)]
    assert all(0.999 < pair.likeness <= 1 for pair in near_pairs(thumbnails))


def test_plain_colours_are_no_copies_of_one_another() -> None:
    plain = np.full((4, SIDE, SIDE), 90, np.uint8)
    plain[1:3, 3, 3] += 1
    assert list(near_pairs(plain)) == []
    assert list(near_pairs(plain[:0])) == []


def test_copies_of_copies_are_one_group() -> None:
    assert connected(6, [(4, 5), (1, 2), (2, 4)]) == [0, 1, 1, 3, 1, 1]
