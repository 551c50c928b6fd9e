"""Network in network: a small network at every place, and no fully connected layers.

Lin, Chen, Yan 2014, "Network in network", sections 3.1 and 3.2, in the sizes of their
ImageNet model.

Changed: the last 1x1 convolution has no ReLU, so that a class can be spoken against, and
stands after the global average as a linear layer: both are linear, so their order does not
matter, and there is one product an image in place of one a pixel. Kaiming's weights,
without which it does not start to learn.
"""

from __future__ import annotations

from torch import nn

from petclassify.learn.zoo.layers import AtLeast, init_kaiming, named


def nin(num_classes: int, in_chans: int = 3, mlp_layers: int = 2) -> nn.Sequential:
    """Build it, 7,595,176 parameters for 1,000 classes of colour images.

    Args:
        num_classes: how many.
        in_chans: 1 for grey images, 3 for colour.
        mlp_layers: 1x1 convolutions after each larger one, 1 or 2; both are taught.

    Shapes: (N, in_chans, 224, 224), or any size from 67 x 67, -> (N, num_classes).

    """
    return init_kaiming(
        named(
            size=AtLeast(67, "NiN"),
            block1=_nin_block(in_chans, 96, 11, mlp_layers, stride=4),  # (N, 96, 54, 54)
            pool1=nn.MaxPool2d(3, stride=2),  # (N, 96, 26, 26)
            block2=_nin_block(96, 256, 5, mlp_layers, padding=2),  # (N, 256, 26, 26)
            pool2=nn.MaxPool2d(3, stride=2),  # (N, 256, 12, 12)
            block3=_nin_block(256, 384, 3, mlp_layers, padding=1),  # (N, 384, 12, 12)
            pool3=nn.MaxPool2d(3, stride=2),  # (N, 384, 5, 5)
            drop=nn.Dropout(0.5),
            class_block=_nin_block(384, 1024, 3, mlp_layers - 1, padding=1),  # (N, 1024, 5, 5)
            pool=nn.AdaptiveAvgPool2d(1),  # (N, 1024, 1, 1)
            flatten=nn.Flatten(),  # (N, 1024)
            head=nn.Linear(1024, num_classes),  # the class block's last 1x1 convolution
        )
    )


def _nin_block(
    in_chans: int, width: int, kernel: int, mlp_layers: int, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    """A convolution, then a fully connected network over the channels of each pixel."""
    layers = [nn.Conv2d(in_chans, width, kernel, stride, padding), nn.ReLU()]
    for _ in range(mlp_layers):
        layers += [nn.Conv2d(width, width, 1), nn.ReLU()]
    return nn.Sequential(*layers)
