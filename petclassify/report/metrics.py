"""The figures by which a classifier is judged, in NumPy: the base install evaluates too.

The tests hold them against scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 15
_SMALLEST = 1e-15


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
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return Metrics(
        count=len(labels),
        accuracy=float(np.mean(predicted == labels)),
        log_loss=float(-np.mean(np.log(np.clip(right, _SMALLEST, 1.0)))),
        ece=expected_calibration_error(probabilities, labels),
        confusion=confusion.tolist(),
        per_class={
            name: _class_metrics(confusion, label) for label, name in enumerate(class_names)
        },
    )


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> float:
    """The mean gap between confidence and accuracy, over bins of confidence.

    Source: Naeini et al. 2015; Guo et al. 2017, section 2.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    # A bin is open on its left and closed on its right, as in Guo et al.
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=NUM_BINS)
    return float(np.abs(gaps).sum() / len(labels))


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
