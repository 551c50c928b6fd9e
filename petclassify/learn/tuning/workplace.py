"""Where a fit computes: a device with its memory layout, and the peers that share the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from petclassify.learn.memory_layout import laid_out, laid_out_module

_STATISTICS = ("running_mean", "running_var")


class Workplace:
    """The device of this process, and its peers.

    Args:
        fabric: the device, the precision, the other processes.
        layout: of four-dimensional weights and inputs in memory.

    """

    def __init__(self, fabric: Fabric, layout: torch.memory_format) -> None:
        self.fabric = fabric
        self.device = fabric.device
        self.rank, self.size = fabric.global_rank, fabric.world_size
        self._layout = layout

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module here, and lay its weights out."""
        return laid_out_module(module.to(self.device), self._layout)

    def placed(self, inputs: Tensor) -> Tensor:
        """Inputs, here and laid out."""
        return laid_out(inputs.to(self.device), self._layout)

    def summed(self, values: Tensor) -> Tensor:
        """The sum over all processes, on the CPU."""
        if self.size == 1:
            return values.cpu()
        reduced = self.fabric.all_reduce(values.to(self.device), reduce_op="sum")
        return cast(Tensor, reduced).cpu()

    def agree_on_statistics(self, network: nn.Module, average: Mapping[str, Tensor]) -> None:
        """Let all processes have the mean of the statistics that batch norms learn.

        Args:
            network: whose batch norms in train mode these are.
            average: the running mean of its tensors by name, which follows them.

        """
        learned = [
            buffer
            for module in network.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]
        followed = [value for name, value in average.items() if name.endswith(_STATISTICS)]
        for buffer in (*learned, *followed):
            buffer.copy_(self.summed(buffer) / self.size)
