"""LeNet-5: the first convolutional network to read cheques.

LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document
recognition", section II.B.

Changed, as in every course since: ReLU for the scaled tanh, max pooling for the trained
average, every map of the third layer fed by all six maps, a linear head for the radial
basis units. Xavier's weights.
"""

from __future__ import annotations

from torch import nn

from petclassify.learn.zoo.layers import AtLeast, PoolTo, init_xavier, named


def lenet5(num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Build it, 61,706 parameters for 10 classes of grey images.

    Shapes: (N, in_chans, 32, 32), or any size from 16 x 16, -> (N, num_classes).
    """
    return init_xavier(
        named(
            size=AtLeast(16, "LeNet-5"),
            conv1=nn.Conv2d(in_chans, 6, 5),  # (N, 6, 28, 28)
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),  # (N, 6, 14, 14)
            conv2=nn.Conv2d(6, 16, 5),  # (N, 16, 10, 10)
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),  # (N, 16, 5, 5)
            pool=PoolTo(5),
            flatten=nn.Flatten(),  # (N, 400)
            fc1=nn.Linear(400, 120),  # (N, 120)
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),  # (N, 84)
            relu4=nn.ReLU(),
            head=nn.Linear(84, num_classes),
        )
    )
