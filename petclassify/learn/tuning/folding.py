"""Kept batch norms, folded into the convolutions before them while training.

A norm that keeps its statistics is a fixed scale and shift for each channel, and so is part
of the convolution's own weights. Computing it there saves a pass over the outputs forwards
and two backwards; the gradients of both modules' parameters are those that they had apart.

Source: Jacob et al. 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", section 3.2, where the norm is folded to be quantised.
"""

from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, fx, nn

from petclassify.learn.tuning.cut import traced


class FoldedConv2d(nn.Module):
    """A convolution with a batch norm's fixed statistics in its weights; shares both's parameters.

    Shapes: those of the convolution.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = norm
        self.after = nn.Sequential(*norm.children())  # timm's norms hold an activation

    def forward(self, inputs: Tensor) -> Tensor:
        convolution, norm = self.convolution, self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        if convolution.bias is not None:
            shift = shift + convolution.bias * scale
        outputs = nn.functional.conv2d(
            inputs,
            convolution.weight * scale.view(-1, 1, 1, 1),
            shift,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
        )
        folded: Tensor = self.after(outputs)
        return folded


def fold_norms(module: nn.Module) -> nn.Module:
    """Fold every batch norm that directly follows a plain convolution.

    Args:
        module: whose norms keep their statistics; left as it is.

    Returns:
        One that computes the same with the same parameters; the module itself where
        torch.fx cannot trace it.

    """
    graph_module = traced(module)
    if graph_module is None:
        return module
    for node in list(graph_module.graph.nodes):
        pair = _foldable(node, graph_module)
        if pair is not None:
            name = f"{node.args[0].target}_{node.target}_folded".replace(".", "_")
            graph_module.add_module(name, FoldedConv2d(*pair))
            before = node.args[0]
            before.target = name
            node.replace_all_uses_with(before)
            graph_module.graph.erase_node(node)
    graph_module.recompile()
    graph_module.delete_all_unused_submodules()
    return graph_module


def _foldable(node: fx.Node, owner: nn.Module) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """The convolution and the norm that meet in a node, if nothing else uses what lies between."""
    before = node.args[0] if node.op == "call_module" else None
    if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
        return None
    convolution = owner.get_submodule(str(before.target))
    norm = owner.get_submodule(str(node.target))
    if (
        type(convolution) is nn.Conv2d
        and convolution.padding_mode == "zeros"
        and type(norm) in (nn.BatchNorm2d, BatchNormAct2d)
        and isinstance(norm, nn.BatchNorm2d)
        and norm.affine
        and norm.track_running_stats
    ):
        return convolution, norm
    return None
