"""DenseNet-121: every layer sees what all layers before it made.

Huang, Liu, van der Maaten, Weinberger 2017, "Densely connected convolutional networks",
table 1, growth rate 32, with bottlenecks and compression (DenseNet-BC).

Changed: nothing; `norm` lets the four normalisations be compared. Kaiming's weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petclassify.learn.zoo.layers import AtLeast, Norm, init_kaiming, make_norm, named

GROWTH = 32
BOTTLENECK = 4 * GROWTH


def densenet121(num_classes: int, in_chans: int = 3, norm: Norm = "batch") -> nn.Sequential:
    """Build it, 7,978,856 parameters for 1,000 classes of colour images.

    Args:
        num_classes: how many.
        in_chans: 1 for grey images, 3 for colour.
        norm: see `layers.make_norm`.

    Shapes: (N, in_chans, 224, 224), or any size from 32 x 32 (64 with instance norm, which
    needs more than one pixel), -> (N, num_classes).

    """
    return init_kaiming(
        named(
            size=AtLeast(64 if norm == "instance" else 32, "DenseNet-121"),
            stem=nn.Sequential(
                nn.Conv2d(in_chans, 64, 7, stride=2, padding=3, bias=False),  # (N, 64, 112, 112)
                make_norm(norm, 64),
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2, padding=1),  # (N, 64, 56, 56)
            ),
            block1=_dense_block(64, 6, norm),  # (N, 256, 56, 56)
            transition1=_transition(256, norm),  # (N, 128, 28, 28)
            block2=_dense_block(128, 12, norm),  # (N, 512, 28, 28)
            transition2=_transition(512, norm),  # (N, 256, 14, 14)
            block3=_dense_block(256, 24, norm),  # (N, 1024, 14, 14)
            transition3=_transition(1024, norm),  # (N, 512, 7, 7)
            block4=_dense_block(512, 16, norm),  # (N, 1024, 7, 7)
            norm=make_norm(norm, 1024),
            relu=nn.ReLU(),
            pool=nn.AdaptiveAvgPool2d(1),  # (N, 1024, 1, 1)
            flatten=nn.Flatten(),  # (N, 1024)
            head=nn.Linear(1024, num_classes),
        )
    )


def _dense_block(in_chans: int, layers: int, norm: Norm) -> nn.Sequential:
    """Each layer adds GROWTH channels."""
    return nn.Sequential(*(DenseLayer(in_chans + i * GROWTH, norm) for i in range(layers)))


def _transition(in_chans: int, norm: Norm) -> nn.Sequential:
    """Half the channels, half the size."""
    return nn.Sequential(
        make_norm(norm, in_chans),
        nn.ReLU(),
        nn.Conv2d(in_chans, in_chans // 2, 1, bias=False),
        nn.AvgPool2d(2),
    )


class DenseLayer(nn.Module):
    """A 1x1 bottleneck and a 3x3 convolution, set beside their input.

    Shapes: (N, in_chans, H, W) -> (N, in_chans + GROWTH, H, W).
    """

    def __init__(self, in_chans: int, norm: Norm) -> None:
        super().__init__()
        self.grown = nn.Sequential(
            make_norm(norm, in_chans),
            nn.ReLU(),
            nn.Conv2d(in_chans, BOTTLENECK, 1, bias=False),
            make_norm(norm, BOTTLENECK),
            nn.ReLU(),
            nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False),
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, self.grown(maps)], dim=1)
