"""May I deploy this? What the judged photos say for it and against it, in sentences.

A report that only lists figures leaves the reader to guess what they are worth. The rules here
are few and stand in the open: each is a sentence with the figure that it rests on. "Yes" is
said where at least nine in ten are right with 95 % confidence, and no rule has anything to say;
"Not yet" where it is not shown to do better than chance, knows less than half of the photos, or
learned from more than half of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from petclassify.report.judged import Judged
from petclassify.report.metrics import ece_by_chance, percent, share_interval

MIN_ACCURACY = 0.9
ENOUGH_PHOTOS = 200  # below, accuracy is known to within several points only
FEW_LEARNED = 0.01  # of the judged photos; with more, a range would be one of nothing
MAX_ECE = 0.05
MIN_KNOWN = 0.95
MIN_KNOWN_AT_ALL = 0.5
SURE = 0.9


class HeldOut(StrEnum):
    """How the judged photos stand to the model, but for those that it learned from."""

    TEST = "photos of the test split, set aside before it was trained"
    VAL = "photos of the validation split, each judged by weights that had not seen it"
    UNTOLD = "photos; if it learned from any of them, the figures flatter"
    OTHERS = "photos, none of them a file that it learned from"


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


def reach_verdict(
    judged: Judged, held_out: HeldOut, findings: tuple[str, ...], learned_from: int = 0
) -> Verdict:
    """Weigh the figures.

    Args:
        judged: the photos.
        held_out: how they stand to the model.
        findings: what is known to be wrong with the data, a sentence each.
        learned_from: how many of the photos the model learned from; a finding says it.

    """
    has_ranges = speaks_for_others(judged, learned_from)
    failures = tuple(_failures(judged, learned_from))
    cautions = (*failures, *_cautions(judged, held_out, has_ranges=has_ranges), *findings)
    answer = Answer.NO if failures else Answer.WITH_CARE if cautions else Answer.YES
    return Verdict(answer, tuple(_reasons(judged, has_ranges=has_ranges)), cautions)


def speaks_for_others(judged: Judged, learned_from: int) -> bool:
    """Whether figures of these photos say something of others, so that ranges mean something."""
    return learned_from <= FEW_LEARNED * judged.metrics.count


def _reasons(judged: Judged, *, has_ranges: bool) -> Iterator[str]:
    metrics = judged.metrics
    counted = f"{judged.right.sum():,} of {metrics.count:,} photos were classified rightly."
    if has_ranges:
        low, high = share_interval(int(judged.right.sum()), metrics.count)
        counted += (
            f" For photos like them, its true rate of mistakes lies between "
            f"{math.floor(1000 * (1 - high))} and {math.ceil(1000 * (1 - low))} in 1,000, with "
            "95 % confidence."
        )
    yield counted
    mistakes = ~judged.right
    if judged.known.any() and not judged.known.all():
        unknown, of_known = np.mean(~judged.known), judged.right[judged.known].mean()
        yield (
            f"It calls {percent(float(unknown))} of them unknown. Of the others it gets "
            f"{percent(of_known, 2)} right."
        )
    if mistakes.any():
        unsure = mistakes & (~judged.known | (judged.probabilities.max(axis=1) < SURE))
        yield (
            f"Mistakes that it was unsure of, called unknown or with less than {percent(SURE, 0)}: "
            f"{unsure.sum():,} of {mistakes.sum():,}."
        )


def _failures(judged: Judged, learned_from: int) -> Iterator[str]:
    metrics = judged.metrics
    if learned_from > metrics.count / 2:
        yield "How it does on photos that it did not learn from is not shown."
    counts = [metrics.per_class[name].count for name in judged.class_names]
    commonest = judged.class_names[int(np.argmax(counts))]
    share = max(counts) / metrics.count
    low, _ = share_interval(int(judged.right.sum()), metrics.count)
    if low <= share:
        yield (
            f"Always saying {commonest} would be right for {percent(share)} of these photos, and "
            f"its accuracy may be as low as {percent(low)}: that it has learned anything is not "
            "shown."
        )
    if judged.known.mean() < MIN_KNOWN_AT_ALL:
        yield (
            f"It calls {percent(1 - judged.known.mean())} of these photos unknown: they are unlike "
            "those that it learned from."
        )


def _cautions(judged: Judged, held_out: HeldOut, *, has_ranges: bool) -> Iterator[str]:
    metrics = judged.metrics
    if held_out == HeldOut.VAL:
        yield "There was no test split: these photos also chose the model, which flatters it."
    if has_ranges:
        yield from _doubts_of_accuracy(judged)
    yield from _weak_classes(judged)
    if metrics.ece > max(MAX_ECE, ece_by_chance(judged.probabilities)):
        yield f"Its probabilities are off by {percent(metrics.ece)} on average."
    if MIN_KNOWN_AT_ALL <= judged.known.mean() < MIN_KNOWN:
        yield f"It calls {percent(1 - judged.known.mean())} of these photos unknown, which is many."


def _doubts_of_accuracy(judged: Judged) -> Iterator[str]:
    metrics = judged.metrics
    low, high = share_interval(int(judged.right.sum()), metrics.count)
    if metrics.count < ENOUGH_PHOTOS:
        yield (
            f"Only {metrics.count:,} photos were judged, of {ENOUGH_PHOTOS} that would be enough: "
            "its true accuracy may lie anywhere "
            f"between {percent(low)} and {percent(high)}."
        )
    if low < MIN_ACCURACY and (metrics.count >= ENOUGH_PHOTOS or metrics.accuracy < MIN_ACCURACY):
        yield f"It may be wrong on {percent(1 - low)} of photos like these. Is that acceptable?"


def _weak_classes(judged: Judged) -> Iterator[str]:
    """Classes that it finds less often than the others, by more than chance.

    One in twenty reports may name a class by chance, however many classes there are
    (Bonferroni's correction).
    """
    rare = 0.05 / len(judged.class_names)
    for label, (name, one) in enumerate(judged.metrics.per_class.items()):
        own, others = (judged.right[judged.labels == label], judged.right[judged.labels != label])
        if one.recall is None:
            yield f"Not one photo of {name} was judged."
        elif len(others) and chance_of_so_few(own, others) < rare:
            yield (
                f"It finds only {percent(one.recall)} of the {one.count:,} photos of {name}, "
                f"clearly less than the {percent(others.mean())} of the others."
            )


def chance_of_so_few(own: NDArray[np.bool_], others: NDArray[np.bool_]) -> float:
    """How often no more of one's own photos would be right if chance alone chose the wrong ones.

    Exact for any count, unlike intervals, which are too narrow for a class of a few photos.

    Source: Fisher 1935, "The logic of inductive inference"; one-sided.
    """
    hits, right = int(own.sum()), int(own.sum() + others.sum())
    of_all = _log_choices(len(own) + len(others), right)
    return sum(
        math.exp(_log_choices(len(own), k) + _log_choices(len(others), right - k) - of_all)
        for k in range(max(0, right - len(others)), hits + 1)
    )


def _log_choices(count: int, chosen: int) -> float:
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)
