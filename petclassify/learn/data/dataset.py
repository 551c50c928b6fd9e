"""The index made ready for learning: readable, split, with copies known.

A flat folder is split here into train, val and test, 64 : 16 : 20; a given train split
without val gives a fifth of itself. What a user has split already is left as it is, and
photos that lie in two splits are listed.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from petclassify.config import TrainConfig
from petclassify.errors import DataError, ImageError
from petclassify.images.digests import digest_photos
from petclassify.images.index import SPLITS, Index, Split
from petclassify.learn.data.splits import carve, distinct_per_class

log = logging.getLogger(__name__)

CARVED_SHARE = 0.2


@dataclass(frozen=True)
class Member:
    """One photo of a data set: where, what, in which split, and the digest of its content."""

    path: Path
    label: int
    split: Split
    digest: str


@dataclass(frozen=True)
class Dataset:
    """What learning works on.

    Attributes:
        root: the data set's folder.
        class_names: in the order of the labels.
        given_splits: those that the folders make; only "train" of a flat folder.
        flat: whether the folder held classes directly, so that test is carved too.
        members: every readable photo, in the index's order.
        unreadable: the photos left out, and why.
        total: photos found, readable or not.
        excluded: photos that a list left out, as paths below the root; not counted in total.

    """

    root: Path
    class_names: tuple[str, ...]
    given_splits: tuple[Split, ...]
    flat: bool
    members: tuple[Member, ...]
    unreadable: tuple[ImageError, ...]
    total: int
    excluded: tuple[str, ...] = ()

    def photos(self, *splits: Split) -> dict[str, Path]:
        """Where each distinct photo of these splits lies, by its digest."""
        return {member.digest: member.path for member in self.of(*splits)}

    def of(self, *splits: Split) -> list[Member]:
        """The members of these splits, in order."""
        return [member for split in splits for member in self.members if member.split == split]

    def name_of(self, member: Member) -> str:
        """A member's path below the root."""
        return os.path.relpath(member.path, self.root)

    def without(self, unreadable: Mapping[str, ImageError]) -> Dataset:
        """The same without the photos, named by digest, that turned out to be unreadable."""
        gone = tuple(
            ImageError(unreadable[m.digest].kind, unreadable[m.digest].reason, m.path)
            for m in self.members
            if m.digest in unreadable
        )
        kept = tuple(m for m in self.members if m.digest not in unreadable)
        return replace(self, members=kept, unreadable=self.unreadable + gone)

    def digest(self) -> str:
        """Of what is learnt from and judged on: a run that goes on must find the same."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for member in self.members:
            digest.update(f"{member.digest} {member.label} {member.split}".encode())
        return digest.hexdigest()

    def copies(self) -> list[list[Member]]:
        """Photos that lie in more than one split or more than one class, copies together."""
        by_digest: dict[str, list[Member]] = defaultdict(list)
        for member in self.members:
            by_digest[member.digest].append(member)
        return [
            same
            for same in by_digest.values()
            if len({m.split for m in same}) > 1 or len({m.label for m in same}) > 1
        ]

    def copies_across_splits(self) -> list[list[Member]]:
        """Photos that lie in more than one split, copies together."""
        return [same for same in self.copies() if len({m.split for m in same}) > 1]

    def copies_across_classes(self) -> list[list[Member]]:
        """Photos that lie in more than one class, copies together."""
        return [same for same in self.copies() if len({m.label for m in same}) > 1]

    def to_dict(self) -> dict[str, Any]:
        """As in data.json: photos by split and class, what was left out, what is there twice."""
        counts = Counter((m.split, self.class_names[m.label]) for m in self.members)
        return {
            "photos": {
                split: {name: counts[split, name] for name in self.class_names}
                for split in SPLITS
                if any(m.split == split for m in self.members)
            },
            "unreadable": [
                {"path": str(error.path), "kind": error.kind, "reason": error.reason}
                for error in self.unreadable
            ],
            "excluded": len(self.excluded),
            "excluded_photos": list(self.excluded),
            "digest": self.digest(),
            "copies": [[self.name_of(m) for m in same] for same in self.copies()],
        }


def prepare_dataset(index: Index, config: TrainConfig) -> Dataset:
    """Digest the photos of an index.

    Raises:
        DataError: there is no train folder, or too many photos cannot be read.

    """
    if "train" not in index.splits:
        found = ", ".join([*index.splits, *(folder.name for folder in index.ignored)])
        raise DataError(
            f"{index.root}: no folder is called train, so there is nothing to learn from; there "
            f"are {found}. Rename the one to learn from"
        )
    if index.excluded:
        log.info("%d photo(s) are left out as the list asks", len(index.excluded))
    if index.ignored:
        beside = ", ".join(folder.name for folder in index.ignored)
        log.warning(
            "%s: not read, since no split of class folders is called so: %s", index.root, beside
        )
    given = [(sample, split) for split in SPLITS for sample in index.splits.get(split, ())]
    digests = digest_photos([sample.path for sample, _ in given])
    members: list[Member] = []
    unreadable: list[ImageError] = []
    for (sample, split), digest in zip(given, digests, strict=True):
        if isinstance(digest, ImageError):
            unreadable.append(digest)
        else:
            members.append(Member(sample.path, sample.label, split, digest))
    dataset = Dataset(
        index.root,
        index.class_names,
        tuple(index.splits),
        index.flat,
        tuple(members),
        tuple(unreadable),
        total=len(given),
        excluded=index.excluded,
    )
    require_usable(dataset, config.max_bad)
    return dataset


def split_dataset(dataset: Dataset, config: TrainConfig) -> Dataset:
    """Carve what splits are missing from train, once it is known which photos can be read.

    Raises:
        DataError: too few photos, or, with `strict`, a photo in two splits.

    """
    _require_photos(dataset, 3 if dataset.flat else 2)
    if dataset.flat:
        dataset = _carved(dataset, "test", config.seed)
    if "val" not in dataset.given_splits:
        dataset = _carved(dataset, "val", config.seed)
    _look_at_copies(dataset, strict=config.strict)
    return dataset


def allowed_unreadable(total: int, max_bad: float) -> int:
    """How many of so many photos may be unreadable."""
    return math.floor(max_bad * total + 1e-9)  # 0.29 of 100 are 29, which floats fall short of


def require_usable(dataset: Dataset, max_bad: float) -> None:
    """Refuse a data set that lost too many photos.

    Raises:
        DataError: a larger share than max_bad is unreadable, or a class has none left in a split.

    """
    bad = dataset.unreadable
    if len(bad) > allowed_unreadable(dataset.total, max_bad):
        raise DataError(
            f"{dataset.root}: at least {len(bad)} of {dataset.total} photos cannot be read, more "
            f"than {100 * max_bad:.3g} %; the first: {bad[0]}. Repair or remove them, leave them "
            "out by --exclude (data check --write-exclude lists them), or raise --max-bad"
        )
    for split in dataset.given_splits:
        present = {member.label for member in dataset.of(split)}
        for label, name in enumerate(dataset.class_names):
            if label not in present:
                raise DataError(
                    f"{dataset.root}: no readable photo of the class {name} in {split}. Add some"
                )


def _require_photos(dataset: Dataset, least: int) -> None:
    """Every class needs a photo to learn from and others to be held out."""
    members = dataset.of("train", "val")
    distinct = distinct_per_class([m.label for m in members], [m.digest for m in members])
    for label, name in enumerate(dataset.class_names):
        if distinct[label] < least:
            raise DataError(
                f"{dataset.root}: the class {name} has {distinct[label]} distinct photo(s) of its "
                f"own to learn from, need at least {least}. Add photos to {name}"
            )


def _carved(dataset: Dataset, into: Split, seed: int) -> Dataset:
    """Move a fifth of train, stratified, copies together, into another split."""
    train = dataset.of("train")
    chosen = carve([m.label for m in train], [m.digest for m in train], CARVED_SHARE, seed)
    moved = {member.path for member, is_chosen in zip(train, chosen, strict=True) if is_chosen}
    members = tuple(replace(m, split=into) if m.path in moved else m for m in dataset.members)
    return replace(dataset, members=members)


def apart(copies: Sequence[Member], by: Literal["split", "label"]) -> tuple[Member, Member]:
    """Two of a photo's copies that lie in different splits, or in different classes."""
    first = copies[0]
    return first, next(one for one in copies if getattr(one, by) != getattr(first, by))


def _look_at_copies(dataset: Dataset, *, strict: bool) -> None:
    contradicting = dataset.copies_across_classes()
    if contradicting:
        log.warning(
            "%d photo(s) lie in more than one class, for example %s; a label of each is wrong. "
            "data.json lists them",
            *(
                len(contradicting),
                " = ".join(map(dataset.name_of, apart(contradicting[0], "label"))),
            ),
        )
    across = dataset.copies_across_splits()
    if not across:
        return
    example = " = ".join(map(dataset.name_of, apart(across[0], "split")))
    finding = f"{len(across)} photo(s) lie in more than one split, for example {example}"
    if strict:
        raise DataError(f"{dataset.root}: {finding}. Remove the copies, or leave out --strict")
    log.warning("%s; figures on them flatter. data.json lists them", finding)
