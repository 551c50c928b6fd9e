"""Weights and activations in the memory layout that a processor convolves fastest.

`torch.nn.Module.to(memory_format=...)` does it too, but fails on tensors of five dimensions, and
torch.fx keeps such as constants of the networks that it cuts: the windows of a Swin are one.
"""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn


def laid_out_module(module: nn.Module, layout: torch.memory_format) -> nn.Module:
    """Bring a module's four-dimensional tensors into a layout, in place."""
    for tensor in chain(module.parameters(), module.buffers()):
        tensor.data = laid_out(tensor.data, layout)
    return module


def laid_out(tensor: Tensor, layout: torch.memory_format) -> Tensor:
    """Bring a four-dimensional tensor into a layout; pixels and tokens have none."""
    if tensor.ndim == 4 and tensor.is_floating_point():
        return tensor.contiguous(memory_format=layout)
    return tensor
