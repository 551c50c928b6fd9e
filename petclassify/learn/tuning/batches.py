"""Which photos make a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from petclassify.errors import UsageError


def chunks(numbers: Sequence[int], size: int) -> list[list[int]]:
    """The numbers in order, so many at a time; the last chunk may be smaller."""
    return [list(numbers[first : first + size]) for first in range(0, len(numbers), size)]


def shuffled(count: int, size: int, least: int, seed: Sequence[int]) -> list[list[int]]:
    """Photos by number, in random order.

    Args:
        count: of photos.
        size: of a batch.
        least: a rest smaller than this is left out.
        seed: decides the order.

    Raises:
        UsageError: no batch is large enough.

    """
    order = np.random.default_rng(seed).permutation(count).tolist()
    usable = [batch for batch in chunks(order, size) if len(batch) >= least]
    if not usable:
        raise UsageError(
            f"--batch-size {size} with {count} photos to train on is too small: {least} photos "
            "per step are needed"
        )
    return usable
