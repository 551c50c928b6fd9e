"""Splits and folds, stratified by class, with copies of one photo always on one side.

scikit-learn makes the folds. Copies are told by content, so folds are drawn over distinct
photos and then handed to all copies. A photo that lies in two classes counts for the
first of them here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

Folds = NDArray[np.int64]
Mask = NDArray[np.bool_]


def carve(labels: Sequence[int], digests: Sequence[str], share: float, seed: int) -> Mask:
    """Choose a share of each class, at least one photo of it, (N,) bool.

    scikit-learn's stratified split may leave a rare class out; this one may not.
    """
    distinct_labels, copies = _distinct(labels, digests)
    generator = np.random.default_rng(seed)
    carved = np.zeros(len(distinct_labels), dtype=np.bool_)
    for label in np.unique(distinct_labels):
        members = generator.permutation(np.flatnonzero(distinct_labels == label))
        carved[members[: max(1, round(share * len(members)))]] = True
    mask: Mask = carved[copies]
    return mask


def assign_folds(labels: Sequence[int], digests: Sequence[str], n_folds: int, seed: int) -> Folds:
    """Give each photo the number of the fold that holds it out, (N,), 0 to n_folds - 1.

    The number of folds falls to the size of the smallest class, counted in distinct photos.

    Every class must have two distinct photos, see `distinct_per_class`.
    """
    distinct_labels, copies = _distinct(labels, digests)
    n_folds = min(n_folds, *np.unique(distinct_labels, return_counts=True)[1].tolist())
    assert n_folds >= 2, "callers count the distinct photos of each class first"
    folds = np.empty(len(distinct_labels), dtype=np.int64)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for fold, (_, members) in enumerate(splitter.split(distinct_labels, distinct_labels)):
        folds[members] = fold
    return folds[copies]


def distinct_per_class(labels: Sequence[int], digests: Sequence[str]) -> Counter[int]:
    """How many distinct photos each class has, by label, as splits and folds count them."""
    return Counter(_distinct(labels, digests)[0].tolist())


def _distinct(
    labels: Sequence[int], digests: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The label of each distinct photo, and for each photo the place of its content there.

    Distinct photos stand in the order in which they came, not in that of their digests.
    """
    places: dict[str, int] = {}
    distinct_labels: list[int] = []
    for label, digest in zip(labels, digests, strict=True):
        if digest not in places:
            places[digest] = len(distinct_labels)
            distinct_labels.append(label)
    return np.array(distinct_labels), np.array([places[digest] for digest in digests])
