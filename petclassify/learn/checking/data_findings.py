"""What a run says of its data, from what it has at hand: a part of `petclassify data check`.

Photos left out; copies, exact and near, of held-out photos among those learned from, since they
flatter every figure; labels that are probably wrong. Near copies are looked for where the
features say: beside the nearest fitted photo of each test photo. Of 60 planted copies of a kind
that is the right one for all that are mirrored, halved or recompressed, for 59 that are all three,
and for 43 at an eighth of the size; `data check` compares all with all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from petclassify.cores import usable_cores
from petclassify.errors import ImageError
from petclassify.images.near_copies import DECODED_SIDE, Thumbnails, near_pairs, to_thumbnail
from petclassify.images.photo import read_image
from petclassify.learn.candidates import Candidate
from petclassify.learn.checking.label_check import find_label_errors
from petclassify.learn.data.dataset import Dataset, Member, apart
from petclassify.learn.frozen.frozen_pass import FITTED_SPLITS, FITTED_VIEWS, FrozenPass
from petclassify.learn.head.familiarity import to_units
from petclassify.report.evaluate import tell_copies

_EXAMPLES = 3
_ROWS = 512


def describe_data(
    dataset: Dataset, shipped: Candidate, learned: Sequence[tuple[Member, Member]]
) -> Iterator[str]:
    """Say what is wrong with the data, a sentence each.

    Args:
        dataset: split.
        shipped: with predictions by weights that never saw the photos.
        learned: judged photos that are copies of those learned from, see `learned_copies`.

    """
    if dataset.unreadable:
        yield f"Left out, since they cannot be read: {_counted(dataset.unreadable, 'photo')}."
    judged = dataset.of("test") or dataset.of("val")
    yield from tell_copies([member.digest for member in judged])
    if learned:
        one, copy = map(dataset.name_of, learned[0])
        yield (
            f"It learned from {len(learned):,} of the judged photos, the same or nearly, for "
            f"example {copy} as {one}: the figures flatter."
        )
    contradicting = dataset.copies_across_classes()
    if contradicting:
        listed = " and ".join(map(dataset.name_of, apart(contradicting[0], "label")))
        yield (
            f"In more than one class: {_counted(contradicting, 'photo')}, for example {listed}. "
            "A label of each is wrong."
        )
    wrong = [
        finding
        for finding in find_label_errors(
            [dataset.name_of(member) for member in shipped.members],
            np.array([member.label for member in shipped.members]),
            shipped.probabilities,
            dataset.class_names,
        )
        if finding.sure
    ]
    if wrong:
        listed = "; ".join(
            f"{one.name} says {one.given}, looks like {one.likely}" for one in wrong[:_EXAMPLES]
        )
        yield (
            f"{_counted(wrong, 'label')} may be wrong: {listed}"
            f"{' and others' if len(wrong) > _EXAMPLES else ''}. petclassify data check judges all."
        )


def _counted(things: Sequence[object], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def learned_copies(
    dataset: Dataset, shipped: Candidate, frozen: FrozenPass | None
) -> list[tuple[Member, Member]]:
    """Judged photos that the weights which judge them learned from, beside what they learned.

    Of a test split, copies of photos that chose the weights too. Validation photos are judged by
    folds, none of which parts copies, unless the network was fine-tuned.

    Args:
        dataset: split.
        shipped: the candidate that judges.
        frozen: the pass whose features find near copies; without it only the same files are found.

    """
    judged = dataset.of("test")
    fitted = dataset.of(*FITTED_SPLITS)
    if not judged:
        judged, fitted = dataset.of("val"), dataset.of("train") if shipped.is_tuned else []
    by_digest = {member.digest: member for member in fitted}
    exact = [(by_digest[one.digest], one) for one in judged if one.digest in by_digest]
    return exact + ([] if frozen is None else near_copies(dataset, frozen))


def near_copies(dataset: Dataset, frozen: FrozenPass) -> list[tuple[Member, Member]]:
    """Test photos that are near copies of fitted ones, beside these."""
    fitted, tested = dataset.of(*FITTED_SPLITS), dataset.of("test")
    if not tested:
        return []
    fitted_units = to_units(frozen.cache.get([member.digest for member in fitted], FITTED_VIEWS))
    test_units = to_units(frozen.cache.get([member.digest for member in tested], views=1)[:, 0])
    nearest = np.concatenate(
        [
            np.max([rows @ fitted_units[:, view].T for view in range(FITTED_VIEWS)], 0).argmax(1)
            for rows in np.split(test_units, range(_ROWS, len(test_units), _ROWS))
        ]
    )
    pairs = [
        (fitted[place], member)
        for place, member in zip(nearest, tested, strict=True)
        if fitted[place].digest != member.digest
    ]
    thumbnails = _thumbnails(
        list({member.digest: member for pair in pairs for member in pair}.values())
    )
    return [
        pair
        for pair in pairs
        if pair[0].digest in thumbnails
        and pair[1].digest in thumbnails
        and any(near_pairs(np.stack([thumbnails[member.digest] for member in pair])))
    ]


def _thumbnails(members: Iterable[Member]) -> dict[str, Thumbnails]:
    """By digest; a photo that has gone since it was read has none."""

    def look(member: Member) -> tuple[str, Thumbnails] | None:
        try:
            return member.digest, to_thumbnail(read_image(member.path, DECODED_SIDE))
        except ImageError:
            return None

    with ThreadPoolExecutor(usable_cores()) as pool:
        return dict(found for found in pool.map(look, members) if found is not None)
