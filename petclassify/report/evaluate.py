"""`petclassify evaluate`: a model file against labelled photos, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petclassify.errors import DataError, ImageError
from petclassify.images.index import Index, Sample, read_index
from petclassify.report.metrics import Metrics, measure
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.scoring import THREADS_IN_NETWORK, score_photos


@dataclass(frozen=True)
class Evaluation:
    """The figures over the photos that can be read, and why each of the others cannot.

    Attributes:
        metrics: over all of them, known or not.
        known_share: of them that the model calls known.
        unreadable: why each of the others cannot be read.

    """

    metrics: Metrics
    known_share: float
    unreadable: tuple[ImageError, ...]


def evaluate(data: Path, model: Path) -> Evaluation:
    """Classify a labelled folder: its test split if it has splits, else all of it.

    Raises:
        DataError: the folder is unusable, or its classes are not the model's.
        ModelError: the model is refused.

    """
    classifier = Classifier.load(model, threads=THREADS_IN_NETWORK)
    index = read_index(data)
    if set(index.class_names) != set(classifier.class_names):
        raise DataError(
            f"{data}: its classes [{', '.join(index.class_names)}] are not those of {model} "
            f"[{', '.join(classifier.class_names)}]"
        )
    labels = [classifier.class_names.index(name) for name in index.class_names]
    samples = [Sample(s.path, labels[s.label]) for s in _judged_split(index)]
    return evaluate_samples(classifier, samples)


def evaluate_samples(classifier: Classifier, samples: Sequence[Sample]) -> Evaluation:
    """Classify samples whose labels are positions in the classifier's classes.

    Raises:
        DataError: none of them can be read.

    """
    labels, probabilities, known, unreadable = [], [], [], []
    scored = score_photos(classifier, ((str(s.path), s.path) for s in samples))
    for sample, outcome in zip(samples, (one.outcome for one in scored), strict=True):
        if isinstance(outcome, ImageError):
            unreadable.append(outcome)
        else:
            labels.append(sample.label)
            probabilities.append(list(outcome.probabilities.values()))
            known.append(outcome.known)
    if not labels:
        raise DataError(
            f"none of the {len(samples)} photos can be read; the first: {unreadable[0]}"
        )
    metrics = measure(np.array(probabilities), np.array(labels), classifier.class_names)
    return Evaluation(metrics, float(np.mean(known)), tuple(unreadable))


def _judged_split(index: Index) -> tuple[Sample, ...]:
    if index.flat:
        return index.splits["train"]
    if "test" not in index.splits:
        raise DataError(
            f"{index.root}: has no test folder. Give the folder of the classes to judge, for "
            f"example {index.root / 'val'}"
        )
    return index.splits["test"]
