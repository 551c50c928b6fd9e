"""A data set is only read: what a command writes lies outside of it."""

from __future__ import annotations

import os
from pathlib import Path

from petclassify.errors import UsageError
from petclassify.images.index import Index


def require_outside(index: Index, path: Path, option: str = "") -> None:
    """Make sure that what is written does not become a class, or a photo, of the data set.

    Args:
        index: the data set.
        path: of a file or folder, which need not be there.
        option: that names it.

    Raises:
        UsageError: it lies below the data set's folder, or below one that a link in it names.

    """
    place = Path(os.path.realpath(path))  # unlike Path.resolve, it takes a link to itself
    folders = {sample.path.parent for samples in index.splits.values() for sample in samples}
    for folder in (index.root, *folders):
        if place.is_relative_to(os.path.realpath(folder)):
            raise UsageError(
                f"{path}: lies in the data set, where nothing is written. Choose another"
                f"{option and f' {option}'}"
            )
