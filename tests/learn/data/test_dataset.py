"""How many photos a data set may lose."""

from __future__ import annotations

import pytest

from petclassify.learn.data.dataset import allowed_unreadable


@pytest.mark.parametrize(
    ("max_bad", "total", "allowed"),
    [(0.29, 100, 29), (0.07, 100, 7), (0.01, 61, 0), (0.0, 9, 0), (1.0, 5, 5)],
)
def test_as_many_photos_may_be_unreadable_as_the_share_says(
    max_bad: float, total: int, allowed: int
) -> None:
    assert allowed_unreadable(total, max_bad) == allowed
