from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from petclassify.config import NO_AUGMENTATION, Augmentation, Resize
from petclassify.images.drawn_pets import draw_pet
from petclassify.images.photo import to_pixels
from petclassify.learn.tuning.augment import augment
from petclassify.learn.tuning.views import changed_views

RESIZE = Resize(shorter_side=73, crop=64, interpolation="bicubic")
GREY = (128, 128, 128)
ALONE = {
    "hflip": 1.0,
    "vflip": 1.0,
    "rotate": 40.0,
    "scale": 0.3,
    "crop": 1.0,
    "noise": 0.1,
    "color_jitter": 0.5,
}


@pytest.fixture(scope="module")
def image() -> Image.Image:
    generator = np.random.default_rng(0)
    blocks = generator.integers(0, 256, (30, 45, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((180, 120), Image.Resampling.BICUBIC)


def changed(image: Image.Image, plan: Augmentation, seed: int = 0) -> np.ndarray:
    return augment(image, RESIZE, plan, GREY, np.random.default_rng(seed)).astype(int)


def plain(image: Image.Image) -> np.ndarray:
    return to_pixels(image, RESIZE).astype(int)


def test_without_augmentation_training_sees_what_prediction_sees(image: Image.Image) -> None:
    assert np.array_equal(changed(image, NO_AUGMENTATION), plain(image))


@pytest.mark.parametrize("lever", ALONE)
def test_each_change_acts_alone(image: Image.Image, lever: str) -> None:
    plan = replace(NO_AUGMENTATION, **{lever: ALONE[lever]})
    assert np.abs(changed(image, plan) - plain(image)).mean() > 3


def test_flips_are_exact(image: Image.Image) -> None:
    mirrored = changed(image, replace(NO_AUGMENTATION, hflip=1.0))
    assert np.array_equal(mirrored, plain(image)[:, ::-1])
    upside_down = changed(image, replace(NO_AUGMENTATION, vflip=1.0))
    assert np.array_equal(upside_down, plain(image)[::-1])


def test_half_of_the_photos_are_mirrored_at_one_half(image: Image.Image) -> None:
    plan = replace(NO_AUGMENTATION, hflip=0.5)
    mirrored = [np.array_equal(changed(image, plan, s), plain(image)[:, ::-1]) for s in range(200)]
    assert 70 < sum(mirrored) < 130


def test_a_turn_leaves_corners_in_the_fill_colour(image: Image.Image) -> None:
    turned = changed(image, replace(NO_AUGMENTATION, rotate=45.0), seed=1)
    assert turned[0, 0].tolist() == list(GREY)


def test_noise_has_the_deviation_asked_for(image: Image.Image) -> None:
    flat = Image.new("RGB", (100, 100), (128, 128, 128))
    noisy = changed(flat, replace(NO_AUGMENTATION, noise=0.1))
    assert (noisy - 128).std() == pytest.approx(25.5, rel=0.05)


def test_a_small_scale_shows_less_of_the_photo() -> None:
    ramp = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (100, 1))
    image = Image.fromarray(ramp).convert("RGB")
    shown = [np.ptp(changed(image, replace(NO_AUGMENTATION, scale=0.1), s)) for s in range(20)]
    assert min(shown) < 120 < np.ptp(plain(image))


def test_the_same_seed_photo_and_epoch_give_the_same_picture(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        draw_pet("cat", np.random.default_rng(0)).save(path)
    first = changed_views(paths, RESIZE, Augmentation(), GREY, (0, 1))
    assert np.array_equal(first(0), first(0))
    assert not np.array_equal(first(0), first(1))
    later = changed_views(paths, RESIZE, Augmentation(), GREY, (0, 2))
    assert not np.array_equal(first(0), later(0))
