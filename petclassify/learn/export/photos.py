"""The photos of a run that an export is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from petclassify.arrays import Pixels
from petclassify.config import Resize
from petclassify.errors import DataError, ImageError
from petclassify.images.photo import read_pixels

Read = TypeVar("Read")


def spread(photos: Sequence[Path], count: int) -> list[Path]:
    """Put so many photos from all over the sequence, and so of all classes, first."""
    first = np.linspace(0, len(photos) - 1, min(count, len(photos))).astype(int)
    return [photos[i] for i in first] + [photos[i] for i in np.setdiff1d(range(len(photos)), first)]


def read_first(photos: Sequence[Path], count: int, resize: Resize) -> tuple[list[Path], Pixels]:
    """Read the first photos that can be read, (count, height, width, 3) at most.

    Raises:
        DataError: none of them can be read.

    """
    found = list(readable(photos, count, lambda path: read_pixels(path, resize)))
    return [path for path, _ in found], np.stack([pixels for _, pixels in found])


def readable(
    photos: Sequence[Path], count: int, read: Callable[[Path], Read]
) -> Iterator[tuple[Path, Read]]:
    """Read photos until so many were read; those that cannot be are passed over.

    Raises:
        DataError: none of them can be read.

    """
    left = count
    reason = "there are none"
    for photo in photos:
        if not left:
            return
        try:
            yield photo, read(photo)
            left -= 1
        except ImageError as error:
            reason = str(error)
    if left == count:
        raise DataError(
            "the export cannot be checked, since none of the run's photos can be read "
            f"({reason}). If the data set was moved, give --data DIR to "
            "petclassify export"
        )
