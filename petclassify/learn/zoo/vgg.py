"""VGG: nothing but 3x3 convolutions, in blocks that halve the image.

Simonyan and Zisserman 2015, "Very deep convolutional networks for large-scale image
recognition", table 1, columns A, B, D and E.

Changed: nothing. Kaiming's weights, without which the deeper ones do not start to learn;
the paper itself had to begin with the weights of column A.
"""

from __future__ import annotations

from torch import nn

from petclassify.learn.zoo.layers import AtLeast, PoolTo, init_kaiming, named

# Convolutions in each of the five blocks, by the number of layers that have weights.
DEPTHS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)


def vgg(depth: int, num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Build one of DEPTHS.

    Shapes: (N, in_chans, 224, 224), or any size from 32 x 32, -> (N, num_classes).
    """
    blocks = []
    channels = in_chans
    for width, convolutions in zip(WIDTHS, DEPTHS[depth], strict=True):
        blocks.append(_block(channels, width, convolutions))
        channels = width
    return init_kaiming(
        named(
            size=AtLeast(32, f"VGG-{depth}"),
            block1=blocks[0],  # (N, 64, 112, 112)
            block2=blocks[1],  # (N, 128, 56, 56)
            block3=blocks[2],  # (N, 256, 28, 28)
            block4=blocks[3],  # (N, 512, 14, 14)
            block5=blocks[4],  # (N, 512, 7, 7)
            pool=PoolTo(7),
            flatten=nn.Flatten(),  # (N, 25088)
            fc6=nn.Linear(25088, 4096),  # (N, 4096)
            relu6=nn.ReLU(),
            drop6=nn.Dropout(0.5),
            fc7=nn.Linear(4096, 4096),  # (N, 4096)
            relu7=nn.ReLU(),
            drop7=nn.Dropout(0.5),
            head=nn.Linear(4096, num_classes),
        )
    )


def _block(in_chans: int, width: int, convolutions: int) -> nn.Sequential:
    """3x3 convolutions of one width, then half the size."""
    layers: list[nn.Module] = []
    for place in range(convolutions):
        layers.append(nn.Conv2d(in_chans if place == 0 else width, width, 3, padding=1))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def vgg11(num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Column A: 132,863,336 parameters for 1,000 classes."""
    return vgg(11, num_classes, in_chans)


def vgg13(num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Column B: 133,047,848 parameters for 1,000 classes."""
    return vgg(13, num_classes, in_chans)


def vgg16(num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Column D: 138,357,544 parameters for 1,000 classes."""
    return vgg(16, num_classes, in_chans)


def vgg19(num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Column E: 143,667,240 parameters for 1,000 classes."""
    return vgg(19, num_classes, in_chans)
