from __future__ import annotations

import numpy as np
import pytest

from petclassify.learn.checking.label_check import (
    find_label_errors,
    find_strays,
    likeness_to_others,
    rank_labels,
)

CLASSES = ("ants", "bees", "cows")


def judged(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """True labels, and probabilities of a classifier that is right nine times in ten."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    logits = generator.normal(0, 1, (count, 3))
    logits[np.arange(count), labels] += 4
    shares = np.exp(logits)
    return labels, shares / shares.sum(axis=1, keepdims=True)


def test_planted_errors_stand_first() -> None:
    labels, probabilities = judged(1000, seed=0)
    given = labels.copy()
    given[:10] = (given[:10] + 1) % 3
    names = [f"{place}" for place in range(1000)]
    found = find_label_errors(names, given, probabilities, CLASSES)
    assert len({int(one.name) for one in found[:30]} & set(range(10))) >= 9
    assert len(set(rank_labels(given, probabilities)[:30]) & set(range(10))) >= 9
    first = found[0]
    assert first.sure
    assert first.given != first.likely
    assert first.probability == probabilities[int(first.name)].max()


def test_labels_that_the_classifier_shares_are_never_listed() -> None:
    labels, probabilities = judged(300, seed=1)
    agreed = probabilities.argmax(axis=1)
    assert find_label_errors([""] * 300, agreed, probabilities, CLASSES) == ()
    found = find_label_errors([""] * 300, labels, probabilities, CLASSES)
    assert len(found) == (agreed != labels).sum()


def test_strays_are_found_and_clean_features_have_none_far_out() -> None:
    generator = np.random.default_rng(0)
    labels = np.arange(400) % 2
    centres = generator.normal(0, 1, (2, 40)) + 1
    features = (centres[labels] + 0.5 * generator.normal(0, 1, (400, 40))).astype(np.float32)
    folds = np.arange(400) % 5
    names = [f"{place}" for place in range(400)]
    clean, _ = find_strays(names, labels, likeness_to_others(features, labels, folds), CLASSES)
    assert not any(one.sure for one in clean)
    features[7] = -features[7]
    likeness = likeness_to_others(features, labels, folds)
    found, fences = find_strays(names, labels, likeness, CLASSES)
    assert [one.name for one in found if one.sure] == ["7"]
    assert found[0].likeness < fences["stray_likeness"] < fences["stray_worth_a_look"]


def test_a_copy_in_the_same_fold_does_not_make_a_stray_familiar() -> None:
    generator = np.random.default_rng(0)
    features = (generator.normal(0, 0.3, (100, 20)) + 1).astype(np.float32)
    features[[5, 15]] = -1
    apart = likeness_to_others(features, np.zeros(100, int), np.arange(100) % 10)
    assert apart[5] < 0


@pytest.mark.parametrize("count", [4, 30])
def test_a_handful_of_photos_has_no_fence(count: int) -> None:
    likeness = np.linspace(0, 1, count, dtype=np.float32)
    assert find_strays([""] * count, np.zeros(count, int), likeness, CLASSES) == ((), {})
