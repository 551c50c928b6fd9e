"""What one photo may cost, of the largest size that is allowed, in every format and mode."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from benchmarks.hostile_images import MAX_MEBIBYTES, MAX_SECONDS, largest, measure
from tests.reliability import Attacks

SIDE = 7000  # pixels: 49 megapixels


@pytest.mark.slow
@pytest.mark.attack("Photos")
def test_the_largest_photo_of_every_kind_keeps_to_the_limits(
    tmp_path: Path, attack: Attacks
) -> None:
    # Small processes start them: a child's peak counts what its parent held at the fork.
    small = multiprocessing.get_context("spawn").Pool
    with small(1) as maker:
        paths = maker.apply(largest, (tmp_path, SIDE))
    with small(1) as starter:
        costs = starter.map(measure, paths)
    over = []
    for cost in costs:
        # Of the processor, since other tests share the machine.
        fits = cost.processor_seconds <= MAX_SECONDS and cost.mebibytes <= MAX_MEBIBYTES
        over += [] if fits and "exit" not in cost.outcome else [cost]
        attack.made(1, not fits, under="of the largest size")
        attack.cost(cost.name, cost.processor_seconds, cost.mebibytes)
    assert over == []
