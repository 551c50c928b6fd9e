from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from petclassify.errors import ExitCode
from petclassify.learn.data.splits import assign_folds, carve, distinct_per_class
from tests.conftest import Outcome


def test_copies_share_a_fold_and_classes_are_even() -> None:
    labels = [0] * 50 + [1] * 100
    digests = [f"{number // 2}" for number in range(150)]
    folds = assign_folds(labels, digests, 5, seed=0)
    assert np.all(folds[::2] == folds[1::2])
    for fold in range(5):
        members = np.array(labels)[folds == fold]
        assert (members == 0).sum() == 10
        assert (members == 1).sum() == 20


def test_the_seed_decides_and_the_names_of_files_do_not() -> None:
    labels = [0, 1] * 40
    digests = [f"{number:03}" for number in range(80)]
    first = assign_folds(labels, digests, 5, seed=1)
    np.testing.assert_array_equal(first, assign_folds(labels, digests, 5, seed=1))
    assert np.any(first != assign_folds(labels, digests, 5, seed=2))
    renamed = [f"{hash(digest)}" for digest in digests]
    np.testing.assert_array_equal(first, assign_folds(labels, renamed, 5, seed=1))


def test_small_classes_lower_the_number_of_folds() -> None:
    folds = assign_folds([0, 0, 0, 1, 1, 1], list("abcdef"), 5, seed=0)
    assert set(folds) == {0, 1, 2}


def test_a_photo_in_two_classes_counts_for_the_first() -> None:
    assert distinct_per_class([0, 0, 1, 1, 1], ["a", "a", "a", "b", "c"]) == {0: 1, 1: 2}


def test_a_class_of_copies_of_another_is_refused(
    tmp_path: Path, drawn_pets: Path, petclassify: Callable[..., Outcome]
) -> None:
    cats = sorted((drawn_pets / "cats").iterdir())
    for name, photos in (("cats", cats), ("dogs", cats[:3])):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for photo in photos:
            (tmp_path / "pets" / name / photo.name).write_bytes(photo.read_bytes())
    refused = petclassify("train", tmp_path / "pets", "--image-size", "64")
    assert refused.code == ExitCode.DATA
    assert "the class dogs has 0 distinct photo(s) of its own" in refused.err


def test_a_fifth_of_each_class_is_carved_and_never_none_of_it() -> None:
    labels = [0] * 1000 + [1] * 3
    mask = carve(labels, [str(number) for number in range(1003)], 0.2, seed=0)
    assert mask[:1000].sum() == 200
    assert mask[1000:].sum() == 1


def test_carving_keeps_copies_together() -> None:
    mask = carve([0, 0] * 50, [str(number // 2) for number in range(100)], 0.2, seed=0)
    assert mask.sum() == 20
    assert np.all(mask[::2] == mask[1::2])
