from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from petclassify.images.check import (
    check_files,
    find_odd_sizes,
    find_rare_classes,
)
from petclassify.images.drawn_pets import draw_pets
from petclassify.images.findings import Photo
from petclassify.images.index import read_index


@pytest.fixture
def split_pets(tmp_path: Path) -> Path:
    """Ten drawn pets in train, ten others in test."""
    draw_pets(tmp_path / "pets" / "train", 10, seed=1)
    draw_pets(tmp_path / "pets" / "test", 10, seed=2)
    return tmp_path / "pets"


def photos_of(*sizes: tuple[int, int]) -> list[Photo]:
    return [
        Photo(f"{place}.jpg", "cats", "train", f"{place}", size) for place, size in enumerate(sizes)
    ]


def test_a_clean_set_has_no_findings(split_pets: Path) -> None:
    found = check_files(read_index(split_pets), window=224)
    assert len(found.photos) == 20
    assert len(set(found.groups)) == 20
    assert found.photos[0].name == "train/cats/cat-0001.jpg"
    lists = (found.unreadable, found.copies, found.odd_sizes, found.rare_classes, found.notes)
    assert not any(lists)


def test_each_unreadable_file_is_named_with_its_fault(split_pets: Path) -> None:
    cats = split_pets / "train" / "cats"
    whole = (cats / "cat-0001.jpg").read_bytes()
    (cats / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (cats / "empty.jpg").touch()
    (cats / "text.png").write_text("no picture")
    (cats / "nowhere.jpg").symlink_to("none")
    found = check_files(read_index(split_pets), window=224)
    assert {Path(one.name).name: one.kind for one in found.unreadable} == {
        "cut.jpg": "damaged",
        "empty.jpg": "empty",
        "text.png": "not_an_image",
        "nowhere.jpg": "missing",
    }
    assert len(found.photos) == 20


def test_copies_across_splits_come_first_then_two_classes_then_one(split_pets: Path) -> None:
    train, test = split_pets / "train", split_pets / "test"
    shutil.copy(train / "cats" / "cat-0001.jpg", train / "cats" / "again.jpg")
    shutil.copy(train / "cats" / "cat-0002.jpg", train / "dogs" / "really-a-cat.jpg")
    with Image.open(test / "dogs" / "dog-0003.jpg") as image:
        ImageOps.mirror(image).save(train / "dogs" / "mirrored.jpg", quality=60)
    copies = check_files(read_index(split_pets), window=224).copies
    assert [one.where for one in copies] == ["splits", "classes", "class"]
    assert [one.exact for one in copies] == [False, True, True]
    names = {photo.name for photo in copies[0].photos}
    assert names == {"train/dogs/mirrored.jpg", "test/dogs/dog-0003.jpg"}
    assert 0.99 <= copies[0].likeness < 1
    assert copies[1].in_two_classes


def test_a_burst_is_one_group_but_its_ends_are_no_copies(split_pets: Path) -> None:
    """Each photo is nearly the next one, and the first is not the last."""
    cats = sorted((split_pets / "train" / "cats").iterdir())
    with Image.open(cats[0]) as first, Image.open(cats[1]) as last:
        ends = first.convert("RGB").resize((128, 128)), last.convert("RGB").resize((128, 128))
    for path in cats[1:]:
        path.unlink()
    for step in range(1, 30):
        Image.blend(*ends, step / 30).save(cats[0].with_name(f"step-{step:02}.png"))
    found = check_files(read_index(split_pets), window=224)
    group_of = {Path(p.name).name: g for p, g in zip(found.photos, found.groups, strict=True)}
    assert group_of["step-01.png"] == group_of["step-29.png"]
    together = [{Path(photo.name).name for photo in group.photos} for group in found.copies]
    assert len(together) > 1
    assert sum(map(len, together)) == len(set().union(*together)), "each photo in one group"
    assert not any({"step-01.png", "step-29.png"} <= names for names in together)


def test_names_keep_their_bytes(split_pets: Path) -> None:
    cats = split_pets / "train" / "cats"
    odd = os.fsdecode(b"a\n\xff.jpg")
    (cats / "cat-0001.jpg").rename(cats / odd)
    names = {photo.name for photo in check_files(read_index(split_pets), window=224).photos}
    assert f"train/cats/{odd}" in names


def test_a_turned_photo_is_measured_upright(split_pets: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = split_pets / "train" / "cats" / "turned.jpg"
    Image.effect_noise((300, 200), 50).convert("RGB").save(turned, exif=exif)
    photos = check_files(read_index(split_pets), window=224).photos
    assert {photo.size for photo in photos if photo.name.endswith("turned.jpg")} == {(200, 300)}


def test_a_strip_and_a_giant_are_odd_and_the_usual_spread_is_not() -> None:
    usual = [(500 + 7 * place, 375 - 5 * place) for place in range(20)]
    assert find_odd_sizes(photos_of(*usual, *((b, a) for a, b in usual)), 224) == ((), ())
    odd, _ = find_odd_sizes(photos_of(*usual, (900, 60), (5000, 4000)), 224)
    assert [one.photo.size for one in odd] == [(5000, 4000), (900, 60)]
    assert "more pixels" in odd[0].reason
    assert "wider" in odd[1].reason


def test_equal_sizes_with_one_a_little_off_are_not_odd() -> None:
    assert find_odd_sizes(photos_of(*[(300, 300)] * 30, (310, 290)), 224) == ((), ())


def test_where_all_are_small_that_is_said_once() -> None:
    odd, notes = find_odd_sizes(photos_of(*[(28, 28)] * 30), 224)
    assert odd == ()
    assert len(notes) == 1
    odd, notes = find_odd_sizes(photos_of(*[(300, 300)] * 30, (200, 100)), 224)
    assert [one.photo.size for one in odd] == [(200, 100)]
    assert notes == ()


def test_a_class_with_less_than_a_third_is_rare() -> None:
    (rare,) = find_rare_classes(Counter(cats=90, dogs=30, birds=29))
    assert (rare.class_name, rare.count, rare.largest_class) == ("birds", 29, "cats")
    assert find_rare_classes(Counter()) == ()
