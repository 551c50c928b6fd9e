"""`petclassify evaluate`: a model file against labelled photos, without torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petclassify.errors import DataError, ImageError
from petclassify.images.digests import digest_photos
from petclassify.images.index import Index, Sample, told_apart
from petclassify.report.judged import Judged
from petclassify.report.nothing import doubt_of_unknown
from petclassify.report.photo_table import read_photo_table
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_info import ModelInfo
from petclassify.runtime.scoring import THREADS_IN_NETWORK, score_photos


@dataclass(frozen=True)
class Evaluation:
    """The photos that can be read, judged, and why each of the others cannot.

    Attributes:
        data: the folder.
        model: the model file or run folder, links followed.
        info: what the model file says about itself.
        judged: its photos with their predictions.
        unreadable: why each of the others cannot be read.
        learned_from: how many are, byte for byte, photos that the model learned from or was chosen
            by; None where it lies in no run that tells.
        findings: what else speaks against the model, a sentence each.

    """

    data: Path
    model: Path
    info: ModelInfo
    judged: Judged
    unreadable: tuple[ImageError, ...]
    learned_from: int | None
    findings: tuple[str, ...]


def evaluate(index: Index, model: Path) -> Evaluation:
    """Classify a labelled data set: its test split if it has splits, else all of it.

    Raises:
        DataError: it has splits, but no test split, or its classes are not the model's.
        ModelError: the model is refused.

    """
    # models/latest may name another run by the time that the report is made.
    place = Path(os.path.realpath(model))
    classifier = Classifier.load(place if place.exists() else model, threads=THREADS_IN_NETWORK)
    difference = told_apart(index.class_names, classifier.class_names)
    if difference:
        raise DataError(
            f"{index.root}: its classes are not those of {model}: {difference}. Name the folders "
            "as the model's classes, or train a model on these"
        )
    labels = [classifier.class_names.index(name) for name in index.class_names]
    matched = [Sample(one.path, labels[one.label]) for one in _judged_samples(index)]
    judged, unreadable = judge(classifier, matched, index.root)
    digests = digest_photos(judged.paths)
    learned_from = _count_learned_from(place, digests)
    findings = (
        *_tell_learned_from(learned_from),
        *tell_copies(digests),
        *doubt_of_unknown(classifier),
    )
    info = classifier.info
    return Evaluation(index.root, place, info, judged, unreadable, learned_from, findings)


def _tell_learned_from(count: int | None) -> Iterator[str]:
    if count:
        yield f"It learned from {count:,} of these photos, the same files: the figures flatter."


def tell_copies(digests: Sequence[object]) -> Iterator[str]:
    """Say of judged photos, by their digests, that some of them are copies of others."""
    if copies := len(digests) - len({*digests}):
        are = "is a copy of another and counts" if copies == 1 else "are copies of others and count"
        yield (
            f"{copies:,} of the judged photos {are} again: the figures rest on "
            f"{len({*digests}):,} different ones."
        )


def _count_learned_from(model: Path, digests: Sequence[object]) -> int | None:
    """Count photos by their content, wherever they lie now; None where the model left its run."""
    try:
        rows = read_photo_table(model if model.is_dir() else model.parent)
    except (OSError, ValueError):
        return None
    learned = {row["sha256"] for row in rows if row["split"] != "test"}
    return sum(digest in learned for digest in digests)


def judge(
    classifier: Classifier, samples: list[Sample], root: Path
) -> tuple[Judged, tuple[ImageError, ...]]:
    """Classify samples whose labels are positions in the classifier's classes.

    Args:
        classifier: best loaded with THREADS_IN_NETWORK.
        samples: at least one.
        root: below which the photos are named.

    Raises:
        DataError: none of them can be read.

    """
    read, predictions, unreadable = [], [], []
    scored = score_photos(classifier, ((str(s.path), s.path) for s in samples))
    for sample, outcome in zip(samples, (one.outcome for one in scored), strict=True):
        if isinstance(outcome, ImageError):
            unreadable.append(outcome)
        else:
            read.append(sample)
            predictions.append(outcome)
    if not read:
        raise DataError(
            f"{root}: none of the {len(samples)} photos can be read; the first: {unreadable[0]}"
        )
    judged = Judged(
        classifier.class_names,
        tuple(sample.path for sample in read),
        tuple(os.path.relpath(sample.path, root) for sample in read),
        np.array([sample.label for sample in read]),
        np.array([list(one.probabilities.values()) for one in predictions]),
        np.array([one.familiarity for one in predictions]),
        classifier.info.known_threshold,
    )
    return judged, tuple(unreadable)


def _judged_samples(index: Index) -> tuple[Sample, ...]:
    if index.flat:
        return index.splits["train"]
    if "test" not in index.splits:
        first = next(iter(index.splits.values()))[0].path.relative_to(index.root).parts[0]
        raise DataError(
            f"{index.root}: has no test folder. Give the folder of the classes to judge, for "
            f"example {index.root / first}"
        )
    return index.splits["test"]
