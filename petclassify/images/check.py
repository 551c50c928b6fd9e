"""What the files of a data set say by themselves, each read whole.

Unreadable files; copies, exact and near; sizes unlike the others'; classes that are rare.
Whether labels are right needs a network: that is `learn.checking.label_check`.

A size is odd when its logarithm lies far out of those of the other photos: more than three
times the middle half's width beyond that half (Tukey 1977, "Exploratory data analysis",
section 2D). A small photo has not half of what the network looks at; where one in ten is so,
that is the nature of the set, and is said once.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petclassify.cores import usable_cores
from petclassify.errors import ImageError
from petclassify.images.digests import digest_photo
from petclassify.images.findings import (
    WHERE,
    CopyGroup,
    FileCheck,
    OddSize,
    Photo,
    RareClass,
    Unreadable,
)
from petclassify.images.index import SPLITS, Index, Sample, Split
from petclassify.images.near_copies import (
    DECODED_SIDE,
    Thumbnails,
    connected,
    near_pairs,
    to_thumbnail,
)
from petclassify.images.photo import read_image, read_size

RARE_SHARE = 1 / 3  # of the largest class
FAR_OUT = 3.0  # widths of the middle half
MIN_FACTOR_PIXELS, MIN_FACTOR_SIDES = 4.0, 2.0  # from the middle half, to be odd
SMALL_SHARE = 0.5  # of the network's window
USUALLY_SMALL = 0.1  # of the photos


@dataclass(frozen=True)
class _Seen:
    photo: Photo
    thumbnail: Thumbnails


def check_files(
    index: Index, window: int, advance: Callable[[int], object] | None = None
) -> FileCheck:
    """Read every file of a data set.

    Args:
        index: the data set.
        window: side in pixels of what the network looks at.
        advance: is told how many files are done.

    """
    seen: list[_Seen] = []
    unreadable: list[Unreadable] = []
    for done, found in enumerate(_looked_at(index), start=1):
        if isinstance(found, _Seen):
            seen.append(found)
        else:
            unreadable.append(found)
        if advance is not None:
            advance(done)
    photos = tuple(one.photo for one in seen)
    groups, copies = _find_copies(photos, [one.thumbnail for one in seen])
    odd_sizes, notes = find_odd_sizes(photos, window)
    rare = find_rare_classes(Counter(photo.class_name for photo in photos))
    return FileCheck(photos, groups, tuple(unreadable), copies, odd_sizes, rare, notes)


def _looked_at(index: Index) -> Iterator[_Seen | Unreadable]:
    """Every file in the index's order; Pillow releases the interpreter, so threads do."""
    samples = [(sample, split) for split in SPLITS for sample in index.splits.get(split, ())]
    pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="check")
    try:
        yield from pool.map(lambda one: _look(index, *one), samples)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _look(index: Index, sample: Sample, split: Split) -> _Seen | Unreadable:
    name = os.path.relpath(sample.path, index.root)
    try:
        digest = digest_photo(sample.path)
        if isinstance(digest, ImageError):
            raise digest
        image = read_image(sample.path, DECODED_SIDE)
        size = read_size(sample.path)
    except ImageError as error:
        return Unreadable(name, error.kind, error.reason)
    photo = Photo(name, index.class_names[sample.label], split, digest, size)
    return _Seen(photo, to_thumbnail(image))


def _find_copies(
    photos: Sequence[Photo], thumbnails: Sequence[Thumbnails]
) -> tuple[tuple[str, ...], tuple[CopyGroup, ...]]:
    """For each photo the name of its group, and the copies.

    A group is all that hangs together, so that no head judges what it has seen a copy of. Copies
    are told more narrowly, all like the first of them: a burst of photos, each like the next one
    but not like the last, is no reason to leave all but one out.
    """
    first_of: dict[str, int] = {}
    firsts = [first_of.setdefault(photo.digest, place) for place, photo in enumerate(photos)]
    distinct = sorted(first_of.values())
    like: dict[int, dict[int, float]] = defaultdict(dict)
    if distinct:
        for pair in near_pairs(np.stack([thumbnails[place] for place in distinct])):
            first, second = distinct[pair.first], distinct[pair.second]
            like[first][second] = like[second][first] = pair.likeness
    pairs = [(first, second) for first, others in like.items() for second in others]
    leaders = connected(len(photos), [*enumerate(firsts), *pairs])
    return tuple(photos[leader].digest for leader in leaders), _copies(photos, firsts, like)


def _copies(
    photos: Sequence[Photo], firsts: Sequence[int], like: Mapping[int, Mapping[int, float]]
) -> tuple[CopyGroup, ...]:
    """Copies of one photo each, the worst first; each photo in one group at most."""
    equal: dict[int, list[int]] = defaultdict(list)
    for place, first in enumerate(firsts):
        equal[first].append(place)
    taken: set[int] = set()
    groups: list[CopyGroup] = []
    for first in equal:
        if first in taken:
            continue
        near = {place: found for place, found in like.get(first, {}).items() if place not in taken}
        taken |= {first, *near}
        members = sorted(place for one in (first, *near) for place in equal[one])
        if len(members) > 1:
            alike = min(near.values(), default=1.0)
            groups.append(CopyGroup(tuple(photos[place] for place in members), alike))
    groups.sort(key=lambda one: (WHERE.index(one.where), not one.in_two_classes, -one.likeness))
    return tuple(groups)


def find_odd_sizes(
    photos: Sequence[Photo], window: int
) -> tuple[tuple[OddSize, ...], tuple[str, ...]]:
    """Photos whose size is odd, the farthest out first, and what is to be said of all."""
    if not photos:
        return (), ()
    width, height = np.array([photo.size for photo in photos], dtype=np.float64).T
    pixels = _beyond(np.log(width * height), np.log(MIN_FACTOR_PIXELS))
    sides = _beyond(np.log(width / height), np.log(MIN_FACTOR_SIDES))
    small = np.minimum(width, height) < SMALL_SHARE * window
    usual = bool(small.mean() > USUALLY_SMALL)
    odd: list[tuple[float, OddSize]] = []
    for place, photo in enumerate(photos):
        reasons = []
        if pixels[place]:
            reasons.append(f"far {'more' if pixels[place] > 0 else 'fewer'} pixels than the others")
        if sides[place]:
            reasons.append(f"far {'wider' if sides[place] > 0 else 'taller'} than the others")
        if small[place] and not usual:
            reasons.append(f"small for a network that looks at {window} x {window}")
        if reasons:
            size = f"{photo.size[0]} x {photo.size[1]}: "
            far = float(abs(pixels[place]) + abs(sides[place]))
            odd.append((far, OddSize(photo, size + "; ".join(reasons))))
    odd.sort(key=lambda one: (-one[0], one[1].photo.num_pixels))
    notes = [
        f"{int(small.sum())} of {len(photos)} photos are small for the network, which looks at "
        f"{window} x {window} pixels; a smaller --image-size may do as well"
    ]
    return tuple(finding for _, finding in odd), tuple(notes if usual else ())


def find_rare_classes(counts: Counter[str]) -> tuple[RareClass, ...]:
    """Classes with less than RARE_SHARE of the photos of the largest one, the rarest first."""
    if not counts:
        return ()
    largest, most = max(counts.items(), key=lambda one: one[1])
    rare = [
        RareClass(name, n, largest, most) for name, n in counts.items() if n < RARE_SHARE * most
    ]
    return tuple(sorted(rare, key=lambda one: one.count))


def low_fence(values: NDArray[np.floating], widths: float) -> float:
    """Where values begin to lie so many widths of the middle half below it."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(low - widths * (high - low))


def _beyond(values: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """How far each value lies beyond the fences, below zero at the low end, zero inside."""
    low, high = np.quantile(values, [0.25, 0.75])
    width = max(FAR_OUT * (high - low), least)
    inside = np.clip(values, low - width, high + width)
    return values - inside
