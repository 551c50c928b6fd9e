"""The figures by which a classifier is judged, in NumPy: the base install evaluates too.

The tests hold them against scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15
_SMALLEST = 1e-15
_RESAMPLES = 1000
_CHANCES = 200


@dataclass(frozen=True)
class ClassMetrics:
    """One class. A figure that nothing was counted for is None."""

    count: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Metrics:
    """All figures of one split.

    Attributes:
        count: photos that the figures rest on.
        accuracy: in [0, 1].
        log_loss: mean of -ln(probability of the right class).
        ece: expected calibration error over 15 equal bins, in [0, 1].
        confusion: rows are the true classes, columns the predicted ones.
        per_class: by class name.

    """

    count: int
    accuracy: float
    log_loss: float
    ece: float
    confusion: list[list[int]]
    per_class: dict[str, ClassMetrics]

    def to_dict(self) -> dict[str, Any]:
        """As in metrics.json."""
        return asdict(self)


def measure(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], class_names: Sequence[str]
) -> Metrics:
    """Compute every figure.

    Args:
        probabilities: (N, classes), N at least 1.
        labels: (N,), positions in class_names.
        class_names: (classes,).

    """
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(class_names), len(class_names)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    return Metrics(
        count=len(labels),
        accuracy=float(np.mean(predicted == labels)),
        log_loss=float(photo_losses(probabilities, labels).mean()),
        ece=expected_calibration_error(probabilities, labels),
        confusion=confusion.tolist(),
        per_class={
            name: _class_metrics(confusion, label) for label, name in enumerate(class_names)
        },
    )


def photo_losses(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """The log loss of each photo, (N,)."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    losses: NDArray[np.float64] = -np.log(np.clip(right, _SMALLEST, 1.0))
    return losses


@dataclass(frozen=True)
class ReliabilityBin:
    """Photos of about the same confidence, and how often they were right."""

    count: int
    confidence: float
    accuracy: float


def reliability(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> list[ReliabilityBin]:
    """Confidence against accuracy, over equal bins of confidence that hold a photo.

    Source: Guo et al. 2017, section 2. A bin is open on its left and closed on its right.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    return [
        ReliabilityBin(
            int(np.sum(bins == place)),
            float(confidence[bins == place].mean()),
            float(right[bins == place].mean()),
        )
        for place in np.unique(bins)
    ]


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> float:
    """The mean gap between confidence and accuracy, over bins of confidence.

    Source: Naeini et al. 2015; Guo et al. 2017, section 2.
    """
    gaps = [
        one.count * abs(one.confidence - one.accuracy) for one in reliability(probabilities, labels)
    ]
    return float(sum(gaps) / len(labels))


def uncalibrated(
    probabilities: NDArray[np.floating], temperature: float, doubt: float
) -> NDArray[np.float64]:
    """What a network's softmax said before the calibration in its model file.

    Args:
        probabilities: (N, classes), calibrated.
        temperature: that divided the logits.
        doubt: the share that was spread over all classes alike.

    Returns:
        (N, classes), each row summing to 1.

    """
    spread = doubt / probabilities.shape[1]
    shares = (probabilities.astype(np.float64) - spread) / (1 - doubt)
    least = max(_SMALLEST, spread * float(np.finfo(np.float32).eps))  # what a model file resolves
    logits = temperature * np.log(np.clip(shares, least, 1.0))
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    sums: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return sums


def accuracy_by_coverage(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.float64]:
    """The accuracy on the surest photos alone, (N,): of the surest one, two, ... all N.

    Source: El-Yaniv and Wiener 2010, "On the foundations of noise-free selective
    classification"; the risk-coverage curve, as accuracy.
    """
    right = probabilities.argmax(axis=1) == labels
    surest_first = np.argsort(-probabilities.max(axis=1), kind="stable")
    means: NDArray[np.float64] = np.cumsum(right[surest_first]) / np.arange(1, len(labels) + 1)
    return means


def ece_by_chance(probabilities: NDArray[np.floating]) -> float:
    """What ECE 19 in 20 models of such confidences stay below that mean what they say.

    With few photos in a bin the gap is never nothing: Roelofs et al. 2022, "Mitigating bias in
    calibration error estimation", section 3.
    """
    generator = np.random.default_rng(0)
    confidence = probabilities.max(axis=1)
    predicted = probabilities.argmax(axis=1)
    drawn = [
        np.where(generator.random(len(confidence)) < confidence, predicted, -1)
        for _ in range(_CHANCES)
    ]
    return float(np.quantile([expected_calibration_error(probabilities, d) for d in drawn], 0.95))


def percent(share: float, digits: int = 1) -> str:
    """A share as the pages print it."""
    return f"{100 * share:.{digits}f} %"


def share_interval(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Between which shares the true one lies, with so much confidence.

    Args:
        hits: out of count.
        count: at least 1.
        confidence: how often such intervals hold the true share.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001, "Interval estimation for a binomial
    proportion", section 3.1.

    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = hits / count, z**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    # Rounding must not take the ends from a share of 0 or 1: 20 of 20 is no less than all.
    return centre - half if hits else 0.0, centre + half if hits < count else 1.0


def mean_interval(values: NDArray[np.floating]) -> tuple[float, float]:
    """Between which values the true mean lies, with 95 % confidence.

    Source: the percentile bootstrap, Efron and Tibshirani 1993, section 13.3.
    """
    generator = np.random.default_rng(0)
    means = [
        values[generator.integers(len(values), size=len(values))].mean() for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _class_metrics(confusion: NDArray[np.int64], label: int) -> ClassMetrics:
    hits = int(confusion[label, label])
    count, predicted = int(confusion[label].sum()), int(confusion[:, label].sum())
    return ClassMetrics(
        count=count,
        precision=_share(hits, predicted),
        recall=_share(hits, count),
        f1=_share(2 * hits, count + predicted),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
