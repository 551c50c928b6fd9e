"""ResNet-18: blocks that add to what they are given, so that depth does no harm.

He, Zhang, Ren, Sun 2016, "Deep residual learning for image recognition", table 1 and
figure 3; shortcuts of option B (a 1x1 convolution only where the shape changes).

Changed: nothing; `norm` lets the four normalisations be compared. Kaiming's weights, as in
the paper.
"""

from __future__ import annotations

from torch import Tensor, nn

from petclassify.learn.zoo.layers import AtLeast, Norm, init_kaiming, make_norm, named


def resnet18(num_classes: int, in_chans: int = 3, norm: Norm = "batch") -> nn.Sequential:
    """Build it, 11,689,512 parameters for 1,000 classes of colour images.

    Args:
        num_classes: how many.
        in_chans: 1 for grey images, 3 for colour.
        norm: see `layers.make_norm`.

    Shapes: (N, in_chans, 224, 224), or any size from 32 x 32 (33 with instance norm, which
    needs more than one pixel), -> (N, num_classes).

    """
    return init_kaiming(
        named(
            size=AtLeast(33 if norm == "instance" else 32, "ResNet-18"),
            stem=nn.Sequential(
                nn.Conv2d(in_chans, 64, 7, stride=2, padding=3, bias=False),  # (N, 64, 112, 112)
                make_norm(norm, 64),
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2, padding=1),  # (N, 64, 56, 56)
            ),
            stage1=_stage(64, 64, 1, norm),  # (N, 64, 56, 56)
            stage2=_stage(64, 128, 2, norm),  # (N, 128, 28, 28)
            stage3=_stage(128, 256, 2, norm),  # (N, 256, 14, 14)
            stage4=_stage(256, 512, 2, norm),  # (N, 512, 7, 7)
            pool=nn.AdaptiveAvgPool2d(1),  # (N, 512, 1, 1)
            flatten=nn.Flatten(),  # (N, 512)
            head=nn.Linear(512, num_classes),
        )
    )


def _stage(in_chans: int, width: int, stride: int, norm: Norm) -> nn.Sequential:
    return nn.Sequential(
        BasicBlock(in_chans, width, stride, norm), BasicBlock(width, width, 1, norm)
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, added to the shortcut.

    Shapes: (N, in_chans, H, W) -> (N, width, H / stride, W / stride).
    """

    def __init__(self, in_chans: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_chans, width, 3, stride, padding=1, bias=False),
            make_norm(norm, width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            make_norm(norm, width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_chans != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_chans, width, 1, stride, bias=False), make_norm(norm, width)
            )
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        summed: Tensor = self.relu(self.residual(maps) + self.shortcut(maps))
        return summed
