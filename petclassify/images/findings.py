"""What a check of a data set's files finds, as data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from petclassify.images.index import Split

Where = Literal["splits", "classes", "class"]
WHERE: tuple[Where, ...] = ("splits", "classes", "class")  # the worst first


@dataclass(frozen=True)
class Photo:
    """One photo that can be read.

    Attributes:
        name: its path below the data set.
        class_name: of its folder.
        split: likewise.
        digest: SHA-256 of the file.
        size: width and height in pixels, upright.

    """

    name: str
    class_name: str
    split: Split
    digest: str
    size: tuple[int, int]

    @property
    def num_pixels(self) -> int:
        """How many it has."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class Unreadable:
    """One file that is no photo, or only a part of one."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class CopyGroup:
    """Photos that are one photo.

    Attributes:
        photos: two at least.
        likeness: of the least like pair among those found alike; 1 for files that are equal.

    """

    photos: tuple[Photo, ...]
    likeness: float

    @property
    def exact(self) -> bool:
        """Whether the files are equal, byte by byte."""
        return len({photo.digest for photo in self.photos}) == 1

    @property
    def where(self) -> Where:
        """In two splits, else in two classes, else in one class."""
        if len({photo.split for photo in self.photos}) > 1:
            return "splits"
        return "classes" if self.in_two_classes else "class"

    @property
    def in_two_classes(self) -> bool:
        """Whether the folders contradict one another, in one split or in two."""
        return len({photo.class_name for photo in self.photos}) > 1


@dataclass(frozen=True)
class OddSize:
    """A photo whose size is unlike the others'."""

    photo: Photo
    reason: str


@dataclass(frozen=True)
class RareClass:
    """A class with few photos beside the largest one."""

    class_name: str
    count: int
    largest_class: str
    largest_count: int


@dataclass(frozen=True)
class FileCheck:
    """What was found. Lists stand worst first.

    Attributes:
        photos: that can be read, in the index's order.
        groups: for each of them the name of its group of copies.

    """

    photos: tuple[Photo, ...]
    groups: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    copies: tuple[CopyGroup, ...]
    odd_sizes: tuple[OddSize, ...]
    rare_classes: tuple[RareClass, ...]
    notes: tuple[str, ...]


def count_photos(photos: Iterable[Photo]) -> dict[Split, dict[str, int]]:
    """Photos by split and class."""
    counts: dict[Split, dict[str, int]] = {}
    for photo in photos:
        of_split = counts.setdefault(photo.split, {})
        of_split[photo.class_name] = of_split.get(photo.class_name, 0) + 1
    return counts
