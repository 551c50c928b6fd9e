"""What several pages of the zoo share: named parts, norms, first weights, sizes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, get_args

import torch
from timm.models import register_notrace_module
from torch import Tensor, nn

from petclassify.errors import UsageError

Norm = Literal["batch", "layer", "instance", "group"]
_GROUPS = 32


def named(**parts: nn.Module) -> nn.Sequential:
    """A sequence whose parts have names."""
    return nn.Sequential(OrderedDict(parts))


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """One of the four normalisations of (N, channels, height, width), with scale and shift.

    They differ in what a mean and a deviation are taken over: batch, over a channel of all
    images; layer, over all channels of one image; instance, over one channel of one image;
    group, over a 32nd of the channels of one image.

    Raises:
        UsageError: there is no such norm.

    Source: Wu and He 2018, "Group normalization", figure 2.

    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "layer":
        return nn.GroupNorm(1, channels)
    if norm == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if norm == "group":
        return nn.GroupNorm(_GROUPS, channels)
    raise UsageError(f"unknown norm {norm!r}: expected one of {', '.join(get_args(Norm))}")


def init_xavier(network: nn.Sequential) -> nn.Sequential:
    """Xavier's uniform weights, biases 0; returns the network.

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep
    feedforward neural networks", equation 16.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def init_kaiming(network: nn.Sequential) -> nn.Sequential:
    """Kaiming's normal weights, by fan-in, biases 0; returns the network.

    Variance 2 / fan-in keeps a signal's size through any number of ReLUs. The head has none
    after it and starts near zero, so that the first loss is that of an even guess.

    Source: He et al. 2015, "Delving deep into rectifiers", equation 10.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if isinstance(network[-1], nn.Linear):
        nn.init.normal_(network[-1].weight, std=0.01)
    return network


@register_notrace_module
class AtLeast(nn.Module):
    """Lets images through that are large enough for a network.

    Shapes: (N, C, height, width), unchanged.

    Raises:
        UsageError: an image is smaller.

    """

    def __init__(self, side: int, network: str) -> None:
        super().__init__()
        self.side = side
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        height, width = (int(side) for side in images.shape[-2:])
        if min(height, width) < self.side:
            raise UsageError(
                f"{self.network} needs images of at least {self.side} x {self.side} pixels, "
                f"not {height} x {width}: ask for larger ones"
            )
        return images


@register_notrace_module
class PoolTo(nn.Module):
    """Average pooling to a grid of side x side cells, whatever the input's size.

    The same as nn.AdaptiveAvgPool2d, written as two matrix products: that one cannot be
    exported to ONNX where the sizes do not divide.

    Shapes: (N, C, height, width) -> (N, C, side, side).
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def extra_repr(self) -> str:
        return str(self.side)

    def forward(self, maps: Tensor) -> Tensor:
        height, width = (int(side) for side in maps.shape[-2:])
        if (height, width) == (self.side, self.side):
            return maps
        rows, columns = self._shares(height).to(maps), self._shares(width).to(maps)
        pooled: Tensor = rows @ maps @ columns.T
        return pooled

    def _shares(self, length: int) -> Tensor:
        """(side, length): how much each place counts for each cell."""
        shares = torch.zeros(self.side, length)
        for cell in range(self.side):
            first, end = cell * length // self.side, -(-(cell + 1) * length // self.side)
            shares[cell, first:end] = 1 / (end - first)
        return shares
