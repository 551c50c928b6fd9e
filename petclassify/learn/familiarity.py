"""How much a photo is like those that a network learned from.

A softmax is sure of things that it has never seen. Features are not: a photo of a chair lies
far from all photos of pets. So a few prototypes, the centres of k-means over the training
features of each class, go into the model file, and a photo's familiarity is its cosine to the
nearest of them, scaled so that the typical photo that was held out has 1. Below the threshold
that 99 % of those reach, a photo is called unknown.

Scale and threshold come from photos that the prototypes they are held against were not made
of: val for a network that was trained on train; for a frozen one, which ships with a head
fitted on both, each photo against prototypes of the other folds.

Source: the nearest neighbour's distance, Sun et al. 2022, "Out-of-distribution detection with
deep nearest neighbors", section 3; centres in place of all neighbours keep the file small.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from petclassify.config import Resize
from petclassify.learn.backbones import FeatureExtractor
from petclassify.learn.dataset import Member
from petclassify.learn.splits import Folds
from petclassify.learn.views import Views, plain_views

log = logging.getLogger(__name__)

PROTOTYPES_PER_CLASS = 96
MAX_PROTOTYPES = 384
MAX_PROTOTYPE_BYTES = 2_000_000
KNOWN_SHARE = 0.99
MAX_PHOTOS = 4000  # that a network looks at once more, where their features are not at hand
_ITERATIONS = 20  # further ones move the centres, not what is known
_BATCH_SIZE = 32

Features = NDArray[np.float32]
Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Familiarity:
    """What tells the known from the unknown.

    Attributes:
        prototypes: (P, num_features), of length 1.
        typical: the median cosine of held-out photos to their nearest prototype.
        threshold: the familiarity from which on a photo is known.

    """

    prototypes: Features
    typical: float
    threshold: float

    def of(self, features: Features) -> Features:
        """(N, num_features) -> (N,), 0 to 1."""
        scaled: Features = np.clip(_nearest(features, self.prototypes) / self.typical, 0, 1)
        return scaled


def fit_familiarity(train: Features, labels: Labels, held_out: Features, seed: int) -> Familiarity:
    """Cluster the training features; scale by other photos.

    Args:
        train: (N, num_features).
        labels: (N,).
        held_out: (M, num_features), M > 0.
        seed: of k-means.

    """
    prototypes = _cluster(train, labels, seed)
    return _scaled(prototypes, _nearest(held_out, prototypes))


def fit_familiarity_by_folds(
    features: Features, labels: Labels, folds: Folds, seed: int
) -> Familiarity:
    """Cluster all features; scale by each photo's cosine to prototypes that it had no part in.

    Args:
        features: (N, num_features).
        labels: (N,).
        folds: (N,), the fold in which each photo is held out.
        seed: of k-means.

    """
    cosines = np.empty(len(labels), np.float32)
    for fold in np.unique(folds):
        others = folds != fold
        prototypes = _cluster(features[others], labels[others], seed)
        cosines[~others] = _nearest(features[~others], prototypes)
    return _scaled(_cluster(features, labels, seed), cosines)


def features_of(
    extractor: FeatureExtractor, members: Sequence[Member], resize: Resize
) -> tuple[Features, NDArray[np.int64]]:
    """The features and labels of MAX_PHOTOS members at most, spread over all of them."""
    chosen = np.linspace(0, len(members) - 1, min(MAX_PHOTOS, len(members))).astype(int)
    paths: list[Path] = [members[place].path for place in chosen]
    views = Views(plain_views(paths, resize), None, keep=False)
    batches = [
        list(range(first, min(first + _BATCH_SIZE, len(paths))))
        for first in range(0, len(paths), _BATCH_SIZE)
    ]
    with torch.inference_mode():
        rows = [extractor(pixels).numpy() for pixels in views.batches(batches)]
    return np.concatenate(rows), np.array([members[place].label for place in chosen])


def _cluster(features: Features, labels: Labels, seed: int) -> Features:
    """The prototypes of all classes, (P, num_features), of length 1."""
    units = _unit(features)
    classes = np.unique(labels)
    affordable = MAX_PROTOTYPE_BYTES // (4 * features.shape[1])
    most = max(1, min(MAX_PROTOTYPES, affordable) // len(classes))
    prototypes = []
    with threadpool_limits(1):
        for label in classes:
            members = units[labels == label]
            count = min(PROTOTYPES_PER_CLASS, most, len(np.unique(members, axis=0)))
            clusters = KMeans(count, n_init=1, max_iter=_ITERATIONS, random_state=seed).fit(members)
            prototypes.append(_unit(clusters.cluster_centers_.astype(np.float32)))
    return np.concatenate(prototypes)


def _scaled(prototypes: Features, cosines: Features) -> Familiarity:
    """Set the scale and the threshold by the cosines of photos that were held out."""
    typical = max(float(np.median(cosines)), 1e-6)
    least = np.sort(cosines)[int((1 - KNOWN_SHARE) * len(cosines))]
    threshold = float(np.clip(least / typical, 0, 1))
    log.info("familiarity: %d prototypes; known from %.3f on", len(prototypes), threshold)
    return Familiarity(prototypes, typical, threshold)


def _nearest(features: Features, prototypes: Features) -> Features:
    """The cosine to the nearest prototype, (N,)."""
    cosines: Features = (_unit(features) @ prototypes.T).max(axis=1)
    return cosines


def _unit(rows: Features) -> Features:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Features = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return units
