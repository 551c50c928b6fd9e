"""Folding changes what is computed on the way, and neither outputs nor gradients."""

from __future__ import annotations

import timm
import torch
from torch import nn

from petclassify.learn.tuning.folding import FoldedConv2d, fold_norms


def _folded(network: nn.Module) -> int:
    return sum(isinstance(module, FoldedConv2d) for module in network.modules())


def _lively(name: str) -> nn.Module:
    """A network whose norms have statistics, scales and shifts that matter."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=2).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return network


def test_outputs_and_gradients_stay_the_same() -> None:
    for name in ("resnet18", "tf_efficientnet_lite0"):
        network = _lively(name)
        photos = torch.randn(2, 3, 64, 64, dtype=torch.double)
        network(photos).square().sum().backward()
        gradients = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        network.zero_grad()
        folded = fold_norms(network)
        outputs = folded(photos)
        outputs.square().sum().backward()
        assert _folded(folded) >= 20
        torch.testing.assert_close(outputs, network(photos))
        for parameter, own in network.named_parameters():
            torch.testing.assert_close(own.grad, gradients[parameter], msg=f"{name} {parameter}")


def test_a_norm_that_sees_anything_but_one_convolution_is_left_alone() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs = self.convolution(inputs)
            return self.norm(outputs) + outputs

    assert _folded(fold_norms(Shared().eval())) == 0
    assert _folded(fold_norms(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)).eval())) == 0


def test_a_network_that_cannot_be_traced_is_left_as_it_is() -> None:
    class Deciding(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs if inputs.sum() > 0 else -inputs

    network = Deciding()
    assert fold_norms(network) is network
