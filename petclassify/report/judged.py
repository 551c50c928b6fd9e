"""Labelled photos, and what a model says of them: what every figure and picture rests on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from petclassify.arrays import Labels, Probabilities
from petclassify.report.metrics import Metrics, measure, photo_losses


@dataclass(frozen=True, eq=False)
class Judged:
    """Labelled photos and what a model says of them.

    Attributes:
        class_names: in the order of the labels.
        paths: (N,), where each photo lies.
        names: (N,), how each is called, below its data set.
        labels: (N,).
        probabilities: (N, classes), calibrated.
        familiarity: (N,), 0 to 1.
        known_threshold: the familiarity from which on a photo is known.

    """

    class_names: tuple[str, ...]
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    labels: Labels
    probabilities: Probabilities
    familiarity: NDArray[np.float64]
    known_threshold: float

    @cached_property
    def metrics(self) -> Metrics:
        """Over all photos, known or not."""
        return measure(self.probabilities, self.labels, self.class_names)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each photo, (N,)."""
        labels: Labels = self.probabilities.argmax(axis=1)
        return labels

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether that is its class, (N,)."""
        found: NDArray[np.bool_] = self.predicted == self.labels
        return found

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which photos the model calls known, (N,)."""
        found: NDArray[np.bool_] = self.familiarity >= self.known_threshold
        return found

    @property
    def losses(self) -> NDArray[np.float64]:
        """The log loss of each photo, (N,)."""
        return photo_losses(self.probabilities, self.labels)
