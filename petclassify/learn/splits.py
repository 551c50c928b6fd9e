"""Splits and folds, stratified by class, with copies of one photo always on one side.

scikit-learn makes them. Copies are told by content, so folds are drawn over distinct
photos and then handed to all copies. A photo that lies in two classes counts for the
first of them here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from petclassify.errors import DataError

Folds = NDArray[np.int64]


def assign_folds(labels: Sequence[int], digests: Sequence[str], n_folds: int, seed: int) -> Folds:
    """Give each photo the number of its fold, (N,), 0 to n_folds - 1.

    The number of folds falls to the size of the smallest class, counted in distinct photos.

    Raises:
        DataError: a class has fewer than two distinct photos.

    """
    _, first, copies = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    # In the order in which photos came, so that names of files, not hashes, decide nothing.
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    distinct_labels = np.asarray(labels)[first[order]]
    n_folds = min(n_folds, int(np.bincount(distinct_labels).min()))
    if n_folds < 2:
        raise DataError("a class has fewer than two distinct photos, too few to split")
    folds = np.empty(len(order), dtype=np.int64)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    for fold, (_, members) in enumerate(splitter.split(distinct_labels, distinct_labels)):
        folds[members] = fold
    return folds[place[copies]]
