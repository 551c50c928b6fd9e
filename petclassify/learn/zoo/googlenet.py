"""GoogLeNet (Inception v1): four views of every map side by side, 1x1 convolutions to pay for it.

Szegedy et al. 2015, "Going deeper with convolutions", figure 2 and table 1.

The lesson of the 1x1 convolutions: a 5x5 convolution from 192 to 32 channels on 28 x 28
pixels takes 28 * 28 * 25 * 192 * 32 = 120,422,400 multiplications. Through 16 channels it
takes 28 * 28 * 192 * 16 + 28 * 28 * 25 * 16 * 32 = 12,443,648, a tenth. `petclassify networks
zoo/googlenet` shows both convolutions, in `stage3.0.branch3`.

Changed: a batch norm after every convolution, as in Inception v2 (Ioffe and Szegedy 2015),
for the local response normalisation and the two auxiliary classifiers, which were there
only because it was hard to train. The 5x5 convolutions are 5x5 (torchvision's are 3x3).
Kaiming's weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from petclassify.learn.zoo.layers import AtLeast, PoolTo, init_kaiming, init_xavier, named


def googlenet(num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Build it, 5,991,082 parameters for 10 classes of colour images.

    Shapes: (N, in_chans, 224, 224), or any size from 32 x 32, -> (N, num_classes).
    """
    return init_kaiming(
        named(
            size=AtLeast(32, "GoogLeNet"),
            stem=nn.Sequential(
                _conv(in_chans, 64, 7, stride=2),  # (N, 64, 112, 112)
                nn.MaxPool2d(3, stride=2, padding=1),  # (N, 64, 56, 56)
                _conv(64, 64, 1),  # (N, 64, 56, 56)
                _conv(64, 192, 3),  # (N, 192, 56, 56)
                nn.MaxPool2d(3, stride=2, padding=1),  # (N, 192, 28, 28)
            ),
            stage3=nn.Sequential(
                Inception(192, 64, (96, 128), (16, 32), 32),  # (N, 256, 28, 28)
                Inception(256, 128, (128, 192), (32, 96), 64),  # (N, 480, 28, 28)
                nn.MaxPool2d(3, stride=2, padding=1),  # (N, 480, 14, 14)
            ),
            stage4=nn.Sequential(
                Inception(480, 192, (96, 208), (16, 48), 64),  # (N, 512, 14, 14)
                Inception(512, 160, (112, 224), (24, 64), 64),  # (N, 512, 14, 14)
                Inception(512, 128, (128, 256), (24, 64), 64),  # (N, 512, 14, 14)
                Inception(512, 112, (144, 288), (32, 64), 64),  # (N, 528, 14, 14)
                Inception(528, 256, (160, 320), (32, 128), 128),  # (N, 832, 14, 14)
                nn.MaxPool2d(3, stride=2, padding=1),  # (N, 832, 7, 7)
            ),
            stage5=nn.Sequential(
                Inception(832, 256, (160, 320), (32, 128), 128),  # (N, 832, 7, 7)
                Inception(832, 384, (192, 384), (48, 128), 128),  # (N, 1024, 7, 7)
            ),
            pool=nn.AdaptiveAvgPool2d(1),  # (N, 1024, 1, 1)
            flatten=nn.Flatten(),  # (N, 1024)
            drop=nn.Dropout(0.4),
            head=nn.Linear(1024, num_classes),
        )
    )


class Inception(nn.Module):
    """Four branches over the same maps, their channels side by side.

    Args:
        in_chans: of the maps.
        one: width of the 1x1 branch.
        three: widths of the 1x1 and the 3x3 convolution.
        five: widths of the 1x1 and the 5x5 convolution.
        pooled: width of the 1x1 convolution after a 3x3 max pooling.

    Shapes: (N, in_chans, H, W) -> (N, one + three[1] + five[1] + pooled, H, W).

    """

    def __init__(
        self, in_chans: int, one: int, three: tuple[int, int], five: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        self.branch1 = _conv(in_chans, one, 1)
        self.branch2 = nn.Sequential(_conv(in_chans, three[0], 1), _conv(*three, 3))
        self.branch3 = nn.Sequential(_conv(in_chans, five[0], 1), _conv(*five, 5))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _conv(in_chans, pooled, 1))

    def forward(self, maps: Tensor) -> Tensor:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(maps) for branch in branches], dim=1)


def _conv(in_chans: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_chans, width, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


def inception_mini(num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Build the small net with which courses teach the block, on 28 x 28 digits.

    Its blocks have no activations, so Xavier's weights keep the signal's size.

    97,298 parameters for 10 classes of grey images.

    Shapes: (N, in_chans, 28, 28), or any size from 20 x 20, -> (N, num_classes).
    """
    return init_xavier(
        named(
            size=AtLeast(20, "inception_mini"),
            conv1=nn.Conv2d(in_chans, 10, 5),  # (N, 10, 24, 24)
            pool1=nn.MaxPool2d(2),  # (N, 10, 12, 12)
            relu1=nn.ReLU(),
            block1=InceptionMini(10),  # (N, 88, 12, 12)
            conv2=nn.Conv2d(88, 20, 5),  # (N, 20, 8, 8)
            pool2=nn.MaxPool2d(2),  # (N, 20, 4, 4)
            relu2=nn.ReLU(),
            block2=InceptionMini(20),  # (N, 88, 4, 4)
            pool=PoolTo(4),
            flatten=nn.Flatten(),  # (N, 1408)
            head=nn.Linear(1408, num_classes),
        )
    )


class InceptionMini(nn.Module):
    """Branches of 16 + 24 + 24 + 24 = 88 channels, without activations between.

    Shapes: (N, in_chans, H, W) -> (N, 88, H, W).
    """

    def __init__(self, in_chans: int) -> None:
        super().__init__()
        self.branch1 = nn.Conv2d(in_chans, 16, 1)
        self.branch2 = nn.Sequential(nn.Conv2d(in_chans, 16, 1), nn.Conv2d(16, 24, 5, padding=2))
        self.branch3 = nn.Sequential(
            nn.Conv2d(in_chans, 16, 1),
            nn.Conv2d(16, 24, 3, padding=1),
            nn.Conv2d(24, 24, 3, padding=1),
        )
        self.branch4 = nn.Sequential(nn.AvgPool2d(3, 1, padding=1), nn.Conv2d(in_chans, 24, 1))

    def forward(self, maps: Tensor) -> Tensor:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(maps) for branch in branches], dim=1)
