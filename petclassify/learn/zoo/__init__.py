"""Classic networks, to be trained from scratch: one page each, read from top to bottom.

Each page is a function of `num_classes` and `in_chans` that returns an nn.Sequential whose
last module, `head`, is the linear classifier. Shapes on the right are those of the paper's
own window. All of them take any larger image, and say so if one is too small; where fully
connected layers need a fixed grid, `layers.PoolTo` averages to it, as in torchvision.

    from petclassify.learn import zoo
    network = zoo.build("zoo/resnet18", num_classes=10)

In the order of time, each with what it brought: `lenet5` convolution and pooling, trained as one;
`alexnet` depth, ReLU and dropout; `vgg` one small convolution, repeated in blocks; `nin` networks
of 1x1 convolutions, and a mean in place of fully connected layers; `googlenet` several paths side
by side; `resnet` a shortcut around each block; `densenet` one from each layer to all after it.

This module itself does not load torch, so that names can be checked before it is.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING

from petclassify.config import ZOO_PREFIX as PREFIX
from petclassify.errors import UsageError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Attributes:
        module: the page that it is written in.
        function: what builds it.
        window: the side in pixels that it was described for.
        lr_factor: on the usual lr from random weights. Deep networks without norms diverge
            at the full one.
        options: of the function.

    """

    module: str
    function: str
    window: int = 224
    lr_factor: float = 1.0
    options: Mapping[str, str] = field(default_factory=dict)


NETWORKS = {
    "lenet5": Entry("lenet5", "lenet5", window=32),
    "alexnet": Entry("alexnet", "alexnet", lr_factor=0.3),
    **{f"vgg{n}": Entry("vgg", f"vgg{n}", lr_factor=0.3) for n in (11, 13, 16, 19)},
    "nin": Entry("nin", "nin"),
    "googlenet": Entry("googlenet", "googlenet"),
    "inception_mini": Entry("googlenet", "inception_mini", window=28),
    "resnet18": Entry("resnet", "resnet18"),
    "densenet121": Entry("densenet", "densenet121"),
    **{
        f"{name}_{norm}": Entry(module, name, options={"norm": norm})
        for module, name in (("resnet", "resnet18"), ("densenet", "densenet121"))
        for norm in ("layer", "instance", "group")
    },
}


def is_zoo(name: str) -> bool:
    """Whether a backbone's name is spelt as one of the zoo's."""
    return name.startswith(PREFIX)


def entry_of(name: str) -> Entry:
    """The entry of `zoo/NAME`.

    Raises:
        UsageError: there is no such network; with the nearest names.

    """
    bare = name.removeprefix(PREFIX)
    if bare not in NETWORKS:
        near = difflib.get_close_matches(bare, NETWORKS, n=3)
        known = ", ".join(PREFIX + other for other in near or NETWORKS)
        hint = f"did you mean {known}?" if near else f"there are {known}"
        raise UsageError(f"unknown backbone {name!r}: {hint}")
    return NETWORKS[bare]


def page_of(name: str) -> ModuleType:
    """The module that `zoo/NAME` is written in; its docstring names the paper.

    Raises:
        UsageError: there is no such network.

    """
    return importlib.import_module(f"{__name__}.{entry_of(name).module}")


def build(name: str, num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Build `zoo/NAME` with fresh random weights.

    Raises:
        UsageError: there is no such network.

    """
    entry = entry_of(name)
    make: Callable[..., nn.Sequential] = getattr(page_of(name), entry.function)
    return make(num_classes, in_chans, **entry.options)
