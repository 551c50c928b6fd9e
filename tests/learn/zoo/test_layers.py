from __future__ import annotations

import pytest
import torch
from torch import nn

from petclassify.errors import UsageError
from petclassify.learn.zoo.layers import AtLeast, PoolTo, make_norm


@pytest.mark.parametrize("side", [1, 4, 5, 7])
@pytest.mark.parametrize("size", [(5, 5), (2, 3), (7, 14), (13, 9)])
def test_pooling_to_a_grid_is_adaptive_pooling(side: int, size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *size)
    torch.testing.assert_close(PoolTo(side)(maps), nn.AdaptiveAvgPool2d(side)(maps))


@pytest.mark.parametrize(
    ("norm", "over"),
    [
        ("batch", lambda maps: maps.transpose(0, 1).reshape(64, -1)),
        ("layer", lambda maps: maps.reshape(4, -1)),
        ("instance", lambda maps: maps.reshape(4 * 64, -1)),
        ("group", lambda maps: maps.reshape(4 * 32, -1)),
    ],
)
def test_a_norm_takes_mean_and_deviation_over_what_its_name_says(norm, over) -> None:
    normed = make_norm(norm, 64)(5 + 3 * torch.randn(4, 64, 6, 6))
    rows = over(normed)
    torch.testing.assert_close(rows.mean(dim=1), torch.zeros(len(rows)), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        rows.std(dim=1, correction=0), torch.ones(len(rows)), atol=1e-3, rtol=0
    )


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown norm 'none': expected one of batch, layer"):
        make_norm("none", 64)


def test_an_image_that_is_too_small_is_refused_by_both_sides() -> None:
    check = AtLeast(32, "ResNet-18")
    assert check(torch.zeros(1, 3, 32, 40)).shape == (1, 3, 32, 40)
    with pytest.raises(UsageError, match="ResNet-18 needs images of at least 32 x 32 pixels"):
        check(torch.zeros(1, 3, 31, 40))
