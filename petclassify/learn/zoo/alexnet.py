"""AlexNet: the network that won ImageNet 2012 and started the rush.

Krizhevsky, Sutskever, Hinton 2012, "ImageNet classification with deep convolutional neural
networks", section 3.

Changed: one column for the two that were split over two graphics cards, and no local
response normalisation, which later work found of no use; the first layer pads by 1, so that
6,400 features come out of 224 pixels, as courses teach it. Kaiming's weights.
"""

from __future__ import annotations

from torch import nn

from petclassify.learn.zoo.layers import AtLeast, PoolTo, init_kaiming, named


def alexnet(num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Build it, 46,764,746 parameters for 10 classes of grey images.

    Shapes: (N, in_chans, 224, 224), or any size from 65 x 65, -> (N, num_classes).
    """
    return init_kaiming(
        named(
            size=AtLeast(65, "AlexNet"),
            conv1=nn.Conv2d(in_chans, 96, 11, stride=4, padding=1),  # (N, 96, 54, 54)
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(3, stride=2),  # (N, 96, 26, 26)
            conv2=nn.Conv2d(96, 256, 5, padding=2),  # (N, 256, 26, 26)
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(3, stride=2),  # (N, 256, 12, 12)
            conv3=nn.Conv2d(256, 384, 3, padding=1),  # (N, 384, 12, 12)
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(384, 384, 3, padding=1),  # (N, 384, 12, 12)
            relu4=nn.ReLU(),
            conv5=nn.Conv2d(384, 256, 3, padding=1),  # (N, 256, 12, 12)
            relu5=nn.ReLU(),
            pool5=nn.MaxPool2d(3, stride=2),  # (N, 256, 5, 5)
            pool=PoolTo(5),
            flatten=nn.Flatten(),  # (N, 6400)
            fc6=nn.Linear(6400, 4096),  # (N, 4096)
            relu6=nn.ReLU(),
            drop6=nn.Dropout(0.5),
            fc7=nn.Linear(4096, 4096),  # (N, 4096)
            relu7=nn.ReLU(),
            drop7=nn.Dropout(0.5),
            head=nn.Linear(4096, num_classes),
        )
    )
