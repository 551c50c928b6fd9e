"""May I deploy this? What the judged photos say for it and against it, in sentences.

A report that only lists figures leaves the reader to guess what they are worth. The rules here
are few and stand in the open: each is a sentence with the figure that it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from petclassify.images.index import Split
from petclassify.report.judged import Judged
from petclassify.report.metrics import share_interval

ENOUGH_PHOTOS = 200  # below, accuracy is known to within several points only
GREATEST_ECE = 0.05
LEAST_KNOWN = 0.95
SURE = 0.9


class Answer(StrEnum):
    """May I deploy this: what the report says first."""

    YES = "Yes, for photos like these"
    WITH_CARE = "With care"
    NO = "Not yet"


@dataclass(frozen=True)
class Verdict:
    """The answer, what it rests on, and what speaks against it."""

    answer: Answer
    reasons: tuple[str, ...]
    cautions: tuple[str, ...]


def reach_verdict(judged: Judged, split: Split | None, findings: tuple[str, ...]) -> Verdict:
    """Weigh the figures.

    Args:
        judged: the photos.
        split: which they are.
        findings: what is known to be wrong with the data, a sentence each.

    """
    failures = tuple(_failures(judged))
    cautions = (*failures, *_cautions(judged, split), *findings)
    answer = Answer.NO if failures else Answer.WITH_CARE if cautions else Answer.YES
    return Verdict(answer, tuple(_reasons(judged)), cautions)


def _reasons(judged: Judged) -> Iterator[str]:
    metrics = judged.metrics
    low, high = share_interval(int(judged.right.sum()), metrics.count)
    yield (
        f"{judged.right.sum():,} of {metrics.count:,} photos that it had never seen were "
        f"classified rightly. Of 1,000 more like them, expect between {1000 * (1 - high):.0f} and "
        f"{1000 * (1 - low):.0f} mistakes."
    )
    mistakes = ~judged.right
    if judged.known.any() and not judged.known.all():
        of_known = judged.right[judged.known].mean()
        yield (
            f"It calls {np.mean(~judged.known):.1%} of them unknown. Of the others it gets "
            f"{of_known:.2%} right."
        )
    if mistakes.any():
        unsure = mistakes & (~judged.known | (judged.probabilities.max(axis=1) < SURE))
        yield (
            f"Of its {mistakes.sum():,} mistakes it was unsure of {unsure.sum():,}: it called them "
            f"unknown, or gave less than {SURE:.0%}."
        )


def _failures(judged: Judged) -> Iterator[str]:
    metrics = judged.metrics
    counts = [metrics.per_class[name].count for name in judged.class_names]
    commonest = judged.class_names[int(np.argmax(counts))]
    share = max(counts) / metrics.count
    low, _ = share_interval(int(judged.right.sum()), metrics.count)
    if low <= share:
        yield (
            f"Always saying {commonest} would be right for {share:.1%} of these photos, and its "
            f"accuracy may be as low as {low:.1%}: that it has learned anything is not shown."
        )


def _cautions(judged: Judged, split: Split | None) -> Iterator[str]:
    metrics = judged.metrics
    low, high = share_interval(int(judged.right.sum()), metrics.count)
    if split == "val":
        yield "There was no test split: these photos also chose the model, which flatters it."
    if metrics.count < ENOUGH_PHOTOS:
        yield (
            f"Only {metrics.count:,} photos were judged, so its true accuracy may lie anywhere "
            f"between {low:.1%} and {high:.1%}."
        )
    for name, one in metrics.per_class.items():
        if one.recall is None:
            yield f"Not one photo of {name} was judged."
        elif share_interval(round(one.recall * one.count), one.count)[1] < metrics.accuracy:
            yield (
                f"It finds only {one.recall:.1%} of the {one.count:,} photos of {name}, clearly "
                "less than of the others."
            )
    if metrics.ece > GREATEST_ECE:
        yield f"Its probabilities are off by {metrics.ece:.1%} on average."
    if judged.known.mean() < LEAST_KNOWN:
        yield f"It calls {1 - judged.known.mean():.1%} of these photos unknown, which is many."
