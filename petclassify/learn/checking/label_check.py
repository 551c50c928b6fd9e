"""Labels in doubt, told by a classifier that never saw the photo.

cleanlab ranks. Its score is the probability of the given label (`self_confidence`); as many of
the lowest are called probably wrong as confident learning estimates there are
(`low_self_confidence`), if another class is sure. All other labels that the classifier does not
share are worth a look. Chosen by planting 1 % of wrong labels, three seeds: of the scores it
ranks them best (92 % of them in the top 3 % of 2,500 Fashion-MNIST pictures with 10 classes;
`normalized_margin` 75 %; with two classes all scores rank alike), and of the filters it flags
the fewest right labels for as many wrong ones found. That another class must be sure changes
nothing on `catsdogs`; on Fashion-MNIST, where the classifier is right on 86 %, it spares 89 of
114 other labels, and leaves 11 of 25 wrong ones to be looked at.

What looks like no class is told by the mean cosine of its features' logarithms to the ten
nearest photos of other folds. Tukey's fences say which is far out, and which is worth a look.
Of 12 pictures of other things planted among 2,500 pets, all are among the 16 least like the
others and 7 are far out, but none of the pets, of 1,000 drawn pets, and of 2,500 pieces of
clothing. Without the logarithm 4 were; the nearest prototype, which model files carry, put one
of them on place 452.

Source: Northcutt et al. 2021, "Confident learning", section 3; the nearest neighbours, Sun et
al. 2022, "Out-of-distribution detection with deep nearest neighbors", section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from petclassify.arrays import Features, Labels, Logits, Probabilities
from petclassify.images.check import FAR_OUT, low_fence
from petclassify.learn.data.splits import Folds
from petclassify.learn.head.calibration import fit_calibration
from petclassify.learn.head.familiarity import MAX_FITTED_PHOTOS, spread_over_classes
from petclassify.report.check_result import LabelCheck, LabelFinding, Stray

NEIGHBOURS = 10
_OUTSIDE = 1.5  # widths of the middle half; worth a look
MIN_PHOTOS = 50  # for a fence to mean anything
_ROWS = 1024
_SURE_OF_CLASS = 0.9  # a probability from which on a photo is said to be of a class


def judge_labels(
    names: Sequence[str],
    labels: Labels,
    logits: Logits,
    likeness: Features,
    class_names: Sequence[str],
) -> LabelCheck:
    """Say all that a classifier has to say of the labels.

    Args:
        names: (N,), of the photos.
        labels: (N,), as given.
        logits: (N, classes), of each photo by weights that saw neither it nor a copy of it.
        likeness: (N,), see `likeness_to_others`.
        class_names: in the order of the labels.

    """
    probabilities = fit_calibration(logits, labels).probabilities(logits)
    likely = probabilities.argmax(axis=1)
    strays, thresholds = find_strays(names, labels, likeness, class_names)
    return LabelCheck(
        find_label_errors(names, labels, probabilities, class_names),
        strays,
        float(np.mean(likely == labels)),
        thresholds,
    )


def find_label_errors(
    names: Sequence[str], labels: Labels, probabilities: Probabilities, class_names: Sequence[str]
) -> tuple[LabelFinding, ...]:
    """List labels that the classifier does not share, the worst first.

    Args:
        names: (N,), of the photos.
        labels: (N,), as given.
        probabilities: (N, classes), calibrated, of each photo by weights that never saw it.
        class_names: in the order of the labels.

    """
    likely = probabilities.argmax(axis=1)
    wrong = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    return tuple(
        LabelFinding(
            names[place],
            class_names[labels[place]],
            class_names[likely[place]],
            float(probabilities[place, likely[place]]),
            sure=bool(wrong[place] and probabilities[place, likely[place]] >= _SURE_OF_CLASS),
        )
        for place in rank_labels(labels, probabilities)
        if likely[place] != labels[place]
    )


def rank_labels(labels: Labels, probabilities: Probabilities) -> NDArray[np.intp]:
    """All places, (N,), the one whose label is least likely right first."""
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    return np.argsort(quality, kind="stable")


def find_strays(
    names: Sequence[str], labels: Labels, likeness: Features, class_names: Sequence[str]
) -> tuple[tuple[Stray, ...], dict[str, float]]:
    """List photos that look like no class, the least like any first, and the fences.

    Args:
        names: (N,), of the photos.
        labels: (N,), as given.
        likeness: (N,), see `likeness_to_others`.
        class_names: in the order of the labels.

    """
    if len(names) < MIN_PHOTOS:
        return (), {}
    outside, far_out = low_fence(likeness, _OUTSIDE), low_fence(likeness, FAR_OUT)
    strays = tuple(
        Stray(
            names[place],
            class_names[labels[place]],
            float(likeness[place]),
            sure=bool(likeness[place] < far_out),
        )
        for place in np.argsort(likeness, kind="stable")
        if likeness[place] < outside
    )
    return strays, {"stray_likeness": far_out, "stray_worth_a_look": outside}


def likeness_to_others(features: Features, labels: Labels, folds: Folds) -> Features:
    """The mean cosine of each photo to the nearest NEIGHBOURS of other folds, (N,).

    Of a large data set, a sample of MAX_FITTED_PHOTOS stands for the other folds.

    Args:
        features: (N, num_features).
        labels: (N,), so that a rare class is in the sample.
        folds: (N,), copies of one photo in the same.

    """
    units: Features = normalize(np.copysign(np.log1p(np.abs(features)), features))
    likeness = np.empty(len(units), np.float32)
    for fold in np.unique(folds):
        others = np.flatnonzero(folds != fold)
        others = others[spread_over_classes(labels[others], MAX_FITTED_PHOTOS)]
        near = min(NEIGHBOURS, len(others))
        held_out = np.flatnonzero(folds == fold)
        for rows in np.split(held_out, range(_ROWS, len(held_out), _ROWS)):
            cosines = units[rows] @ units[others].T
            likeness[rows] = np.partition(cosines, -near, axis=1)[:, -near:].mean(axis=1)
    return likeness
