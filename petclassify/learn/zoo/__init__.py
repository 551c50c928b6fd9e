"""Classic networks, to be trained from scratch: one page each, read from top to bottom.

Each page is a function of `num_classes` and `in_chans` that returns an nn.Sequential whose
last module, `head`, is the linear classifier. Shapes on the right are those of the paper's
own window. All of them take any larger image, and say so if one is too small; where fully
connected layers need a fixed grid, `layers.PoolTo` averages to it, as in torchvision.

This module itself does not load torch, so that names can be checked before it is.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from petclassify.config import ZOO_PREFIX as PREFIX
from petclassify.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

# The module in which each network's function lies, and its window in pixels.
NETWORKS = {
    "lenet5": ("lenet5", 32),
    "alexnet": ("alexnet", 224),
    "vgg11": ("vgg", 224),
    "vgg13": ("vgg", 224),
    "vgg16": ("vgg", 224),
    "vgg19": ("vgg", 224),
    "nin": ("nin", 224),
    "googlenet": ("googlenet", 224),
    "inception_mini": ("googlenet", 28),
    "resnet18": ("resnet", 224),
    "densenet121": ("densenet", 224),
}


def is_zoo(name: str) -> bool:
    """Whether a backbone's name is spelt as one of the zoo's."""
    return name.startswith(PREFIX)


def require_known(name: str) -> None:
    """Raise UsageError, with the nearest names, for a `zoo/NAME` that is not there."""
    if name.removeprefix(PREFIX) not in NETWORKS:
        near = difflib.get_close_matches(name.removeprefix(PREFIX), NETWORKS, n=3)
        known = ", ".join(PREFIX + bare for bare in near or NETWORKS)
        raise UsageError(
            f"unknown backbone {name!r}: {'did you mean' if near else 'there are'} {known}"
        )


def window_of(name: str) -> int:
    """The side in pixels that a network was described for, from `zoo/NAME`.

    Raises:
        KeyError: there is no such network.

    """
    return NETWORKS[name.removeprefix(PREFIX)][1]


def page_of(name: str) -> ModuleType:
    """The module that a network, `zoo/NAME`, is written in; its docstring names the paper.

    Raises:
        KeyError: there is no such network.

    """
    module, _ = NETWORKS[name.removeprefix(PREFIX)]
    return importlib.import_module(f"{__name__}.{module}")


def build(name: str, num_classes: int, in_chans: int = 3) -> nn.Sequential:
    """Build a network with fresh random weights from `zoo/NAME`.

    Raises:
        KeyError: there is no such network.

    """
    make: Callable[[int, int], nn.Sequential] = getattr(page_of(name), name.removeprefix(PREFIX))
    return make(num_classes, in_chans)
