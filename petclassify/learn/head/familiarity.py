"""How much a photo is like those that a network learned from.

A softmax is sure of things that it has never seen. Features are not: a photo of a chair lies
far from all photos of pets. So a few prototypes, the centres of k-means over the training
features of each class, go into the model file, and a photo's familiarity is its mean cosine to
the two nearest of them, scaled so that the typical photo that was held out has 1. Below the
threshold that 99 % of those reach, a photo is called unknown.

Scale and threshold come from photos that the prototypes they are held against were not made
of: val for a network that was trained on train; for a frozen one, which ships with a head
fitted on both, each photo against prototypes of the other folds.

Source: the nearest neighbour's distance, Sun et al. 2022, "Out-of-distribution detection with
deep nearest neighbors", section 3; centres in place of all neighbours keep the file small.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from petclassify.arrays import Features, Labels
from petclassify.learn.data.splits import Folds

log = logging.getLogger(__name__)

PROTOTYPES_PER_CLASS = 192
MAX_PROTOTYPES = 384
NEAREST = 2  # prototypes, or the only one
MAX_PROTOTYPE_BYTES = 2_000_000
KNOWN_SHARE = 0.99
MAX_FITTED_PHOTOS = 6000  # that are clustered; more make the same few prototypes
_ENOUGH_HELD_OUT = 100  # for one in a hundred to be one of them
_SLACK = 1e-4  # for engines that round otherwise
_MIN_OF_CLASS = 20
_MIN_TYPICAL = 1e-3
_DECIMALS = 5  # near-copies of a photo count once
_ITERATIONS = 20  # further ones move the centres, not what is known


@dataclass(frozen=True)
class Familiarity:
    """What tells the known from the unknown.

    Attributes:
        prototypes: (P, num_features), of length 1.
        typical: the median over held-out photos of their mean cosine to the nearest prototypes.
        threshold: the familiarity from which on a photo is known.
        held_out: (N,), of the photos that set scale and threshold, in their order.

    """

    prototypes: Features
    typical: float
    threshold: float
    held_out: NDArray[np.float64]


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


def familiarity_by(scale: Familiarity, features: Features) -> NDArray[np.float64]:
    """How familiar photos are, as the graph of the model file says it, (N,), 0 to 1."""
    return _of_typical(_nearest(features, scale.prototypes), scale.typical)


def spread_over_classes(labels: Labels, count: int) -> NDArray[np.int64]:
    """About so many places, in order, from all over; a rare class keeps _MIN_OF_CLASS."""
    chosen = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        share = max(round(count * len(places) / len(labels)), _MIN_OF_CLASS)
        picked = np.linspace(0, len(places) - 1, min(share, len(places)))
        chosen.append(places[picked.astype(np.int64)])
    return np.sort(np.concatenate(chosen))


def _cluster(features: Features, labels: Labels, seed: int) -> Features:
    """The prototypes of all classes, (P, num_features), of length 1.

    Where there are more classes than prototypes, all classes share them.
    """
    affordable = min(MAX_PROTOTYPES, max(1, MAX_PROTOTYPE_BYTES // (4 * features.shape[1])))
    if len(np.unique(labels)) > affordable:
        labels = np.zeros_like(labels)
    units = to_units(features)
    classes = np.unique(labels)
    most = affordable if len(classes) == 1 else affordable // len(classes)
    prototypes = []
    with threadpool_limits(1):
        for label in classes:
            members = units[labels == label]
            distinct = len(np.unique(members.round(_DECIMALS), axis=0))
            count = min(PROTOTYPES_PER_CLASS if len(classes) > 1 else most, most, distinct)
            # Seeding by k-means++ takes eight times as long as all the rest, and tells no more.
            clusters = KMeans(
                count, init="random", n_init=1, max_iter=_ITERATIONS, random_state=seed
            )
            centres = clusters.fit(members).cluster_centers_
            prototypes.append(to_units(centres.astype(np.float32)))
    return np.concatenate(prototypes)


def _scaled(prototypes: Features, cosines: Features) -> Familiarity:
    """Set the scale and the threshold by the cosines of photos that were held out.

    Fewer than a hundred of them do not show where the last hundredth lies. The threshold then
    is Student's prediction bound for one more photo, if that is below the least of them.
    """
    count = len(cosines)
    median = float(np.median(cosines))
    least = float(np.sort(cosines)[int((1 - KNOWN_SHARE) * count)])
    if 1 < count < _ENOUGH_HELD_OUT:
        error = float(np.std(cosines, ddof=1)) * math.sqrt(1 + 1 / count)
        least = min(least, float(np.mean(cosines)) - float(t.ppf(KNOWN_SHARE, count - 1)) * error)
    typical = max(median, _MIN_TYPICAL)
    threshold = float(np.clip(least / typical - _SLACK, 0, 1))
    log.info("familiarity: %d prototypes; known from %.3f on", len(prototypes), threshold)
    if threshold == 0:
        log.warning("the features do not tell known photos from others: all will be called known")
    return Familiarity(prototypes, typical, threshold, _of_typical(cosines, typical))


def _of_typical(cosines: Features, typical: float) -> NDArray[np.float64]:
    familiarity: NDArray[np.float64] = np.clip(cosines.astype(np.float64) / typical, 0, 1)
    return familiarity


def _nearest(features: Features, prototypes: Features) -> Features:
    """The mean cosine to the nearest prototypes, (N,)."""
    cosines = to_units(features) @ prototypes.T
    near = min(NEAREST, len(prototypes))
    means: Features = np.partition(cosines, -near, axis=1)[:, -near:].mean(axis=1, dtype=np.float32)
    return means


def to_units(rows: Features) -> Features:
    """Bring features, (..., num_features), to length 1."""
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    units: Features = (rows / np.maximum(lengths, 1e-12)).astype(np.float32)
    return units
