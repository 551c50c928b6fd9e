from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from petclassify.errors import DataError
from petclassify.images.index import read_index, told_apart

Make = Callable[..., list[Path]]


def test_flat_layout_in_sorted_order(tmp_path: Path, make_photos: Make) -> None:
    make_photos(tmp_path / "dogs")
    make_photos(tmp_path / "cats" / "deeper")
    index = read_index(tmp_path)
    assert index.flat
    assert index.class_names == ("cats", "dogs")
    paths = [sample.path for sample in index.splits["train"]]
    assert paths == sorted(paths)
    assert [sample.label for sample in index.splits["train"]] == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("training", "valid", "testing"),
        ("training_set", "validation_set", "test_set"),
        ("Train", "validation", "TEST"),
    ],
)
def test_every_spelling_of_the_splits(
    tmp_path: Path, make_photos: Make, train: str, val: str, test: str
) -> None:
    for count, split in ((4, train), (2, val), (3, test)):
        for name in ("cats", "dogs"):
            make_photos(tmp_path / split / name, count)
    index = read_index(tmp_path)
    assert not index.flat
    assert {split: len(samples) for split, samples in index.splits.items()} == {
        "train": 8,
        "val": 4,
        "test": 6,
    }


def test_a_class_called_train_is_a_class(tmp_path: Path, make_photos: Make) -> None:
    for name in ("bus", "car", "train"):
        make_photos(tmp_path / name)
    assert read_index(tmp_path).class_names == ("bus", "car", "train")


def test_splits_of_loose_photos_are_not_taken_for_classes(
    tmp_path: Path, make_photos: Make
) -> None:
    for name in ("test", "train"):
        make_photos(tmp_path / name)
    message = refused(tmp_path)
    assert "[test, train] are splits, but hold no class folders" in message
    assert f"{tmp_path / 'test'}/<class>/<image>.jpg" in message


def test_litter_and_other_files_are_ignored(tmp_path: Path, make_photos: Make) -> None:
    for name in ("cats", "dogs"):
        make_photos(tmp_path / name)
        (tmp_path / name / ".DS_Store").write_bytes(b"x")
        (tmp_path / name / "Thumbs.db").write_bytes(b"x")
        (tmp_path / name / "notes.txt").write_bytes(b"x")
    make_photos(tmp_path / "__MACOSX")
    make_photos(tmp_path / ".hidden")
    index = read_index(tmp_path)
    assert index.class_names == ("cats", "dogs")
    assert len(index.splits["train"]) == 8


def refused(root: Path) -> str:
    with pytest.raises(DataError) as error:
        read_index(root)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_one_class_folder_is_refused(tmp_path: Path, make_photos: Make) -> None:
    make_photos(tmp_path / "cats")
    assert "found 1 class folder(s), need at least 2" in refused(tmp_path)


def test_an_empty_class_is_refused_by_name(tmp_path: Path, make_photos: Make) -> None:
    make_photos(tmp_path / "cats")
    (tmp_path / "dogs").mkdir()
    assert refused(tmp_path).startswith(f"{tmp_path / 'dogs'}: this class folder holds no images")


def test_names_equal_but_for_case_are_refused(tmp_path: Path, make_photos: Make) -> None:
    for name in ("Cats", "cats", "dogs"):
        make_photos(tmp_path / name)
    assert "Cats and cats differ only in case" in refused(tmp_path)


def test_names_equal_but_for_accent_encoding_are_refused(tmp_path: Path, make_photos: Make) -> None:
    for name in ("caf\u00e9", "cafe\u0301"):
        make_photos(tmp_path / name)
    assert "differ only in case or accent encoding" in refused(tmp_path)


def test_val_classes_unlike_trains_are_refused_with_the_difference(
    tmp_path: Path, make_photos: Make
) -> None:
    for split, names in (("train", ("cats", "dogs")), ("val", ("cats", "wolves"))):
        for name in names:
            make_photos(tmp_path / split / name)
    message = refused(tmp_path)
    assert "missing dogs; not expected wolves" in message


def test_classes_that_only_look_the_same_are_said_to_differ_in_encoding() -> None:
    told = told_apart(["cafe\u0301", "tea"], ["caf\u00e9", "tea"])
    assert "differ in accent encoding" in told
    assert "missing" not in told
    assert told_apart(["Caf\u00e9"], ["cafe\u0301"]).endswith("differ in case")


def test_of_a_thousand_classes_a_few_are_named() -> None:
    expected = [f"kind {number:04}" for number in range(1000)]
    told = told_apart(expected[:10], expected)
    assert told == ("missing kind 0010, kind 0011, kind 0012, kind 0013, kind 0014 and 985 more")


def test_two_spellings_of_one_split_are_refused(tmp_path: Path, make_photos: Make) -> None:
    for split in ("train", "val", "valid"):
        make_photos(tmp_path / split / "cats")
        make_photos(tmp_path / split / "dogs")
    assert "val and valid are both the val split" in refused(tmp_path)


def test_one_level_too_high_names_the_level_below(tmp_path: Path, make_photos: Make) -> None:
    for name in ("cats", "dogs"):
        make_photos(tmp_path / "pets" / name)
    assert f"did you mean {tmp_path / 'pets'}?" in refused(tmp_path)


def test_one_level_too_low_names_the_parent(tmp_path: Path, make_photos: Make) -> None:
    make_photos(tmp_path / "cats")
    assert f"give what holds it, {tmp_path}" in refused(tmp_path / "cats")


def test_a_folder_of_data_sets_is_not_taken_for_classes(tmp_path: Path, make_photos: Make) -> None:
    for data_set in ("pets2023", "pets2024"):
        for name in ("cats", "dogs"):
            make_photos(tmp_path / data_set / name)
    assert "they look like data sets, not classes" in refused(tmp_path)


def test_missing_folder_and_file_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    assert "is a file" in refused(tmp_path / "file")


@pytest.mark.parametrize(("link", "other"), [("cats", "dogs"), ("dogs", "cats")])
@pytest.mark.attack("Photos")
def test_a_link_into_another_class_gives_none_of_its_photos_away(
    tmp_path: Path, make_photos: Make, link: str, other: str
) -> None:
    for name in ("cats", "dogs"):
        make_photos(tmp_path / name, 2)
        make_photos(tmp_path / name / "old", 3)
    for name, target in (("0", tmp_path / other / "old"), ("1", tmp_path / other)):
        (tmp_path / link / name).symlink_to(target, target_is_directory=True)
    samples = read_index(tmp_path).splits["train"]
    assert len({sample.path for sample in samples}) == 10
    names = [sample.path.relative_to(tmp_path).parts[0] for sample in samples]
    assert names == ["cats"] * 5 + ["dogs"] * 5
    assert [sample.label for sample in samples] == [0] * 5 + [1] * 5


@pytest.mark.parametrize("target", ["cats", "cats/old", "."])
@pytest.mark.attack("Photos")
def test_a_class_that_is_a_link_to_anothers_photos_is_named(
    tmp_path: Path, make_photos: Make, target: str
) -> None:
    make_photos(tmp_path / "cats" / "old")
    make_photos(tmp_path / "dogs")
    (tmp_path / "also").symlink_to(tmp_path / target, target_is_directory=True)
    assert "is a link to the photos of" in refused(tmp_path)


def test_what_is_linked_into_two_classes_lies_in_both(tmp_path: Path, make_photos: Make) -> None:
    shared = tmp_path / "shared"
    make_photos(shared, 3)
    for name in ("cats", "dogs"):
        make_photos(tmp_path / "pets" / name, 2)
        (tmp_path / "pets" / name / "more").symlink_to(shared, target_is_directory=True)
    samples = read_index(tmp_path / "pets").splits["train"]
    assert [sample.label for sample in samples] == [0] * 5 + [1] * 5


def test_a_link_from_class_to_class_brings_no_photo_twice(
    tmp_path: Path, make_photos: Make
) -> None:
    for name in ("cats", "dogs"):
        make_photos(tmp_path / name)
    (tmp_path / "cats" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert len(read_index(tmp_path).splits["train"]) == 8
