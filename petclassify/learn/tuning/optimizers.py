"""Optimizers with a learning rate per stage, and weight decay only where it belongs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from petclassify.config import FitConfig, OptimizerName
from petclassify.errors import ModelError
from petclassify.learn import zoo
from petclassify.learn.tuning.opened import Trainable

_FINE_TUNING_LR: dict[OptimizerName, float] = {"adamw": 3e-5, "adam": 3e-5, "sgd": 1e-3}
_FROM_SCRATCH_LR: dict[OptimizerName, float] = {"adamw": 1e-3, "adam": 1e-3, "sgd": 5e-2}


def make_optimizer(plan: FitConfig, network: Trainable, open_stages: int) -> Optimizer:
    """Build the optimizer over the head and every stage that this run ever opens.

    Each group carries `scale`, its share of the learning rate: 1 for the head and the last
    stage, times `layer_decay` for each stage below; 1 everywhere from random weights.
    Biases and norms, which are one-dimensional, have groups of their own without weight decay.

    Source: layer-wise rates, Howard and Ruder 2018, section 3.2; no decay on biases and
    norms, He et al. 2019, section 3.1.

    Args:
        plan: the optimizer and its levers, the lr among them.
        network: what is trained.
        open_stages: how many stages open in the end.

    """
    named = dict(network.extractor.network.named_parameters())
    groups = _groups(network.head.parameters(), 1.0, plan)
    for below, stage in enumerate(reversed(network.stages[-open_stages:])):
        scale = plan.layer_decay**below if network.pretrained else 1.0
        groups += _groups((named[name] for name in stage.parameters), scale, plan)
    assert plan.lr is not None, "see `default_lr`"
    if plan.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=plan.lr, momentum=plan.momentum)
    rule = torch.optim.AdamW if plan.optimizer == "adamw" else torch.optim.Adam
    return rule(groups, lr=plan.lr, fused=True)


def default_lr(optimizer: OptimizerName, backbone: str, *, pretrained: bool) -> float:
    """The usual lr; from random weights lower for networks of the zoo that would diverge at it."""
    if pretrained:
        return _FINE_TUNING_LR[optimizer]
    factor = zoo.entry_of(backbone).lr_factor if zoo.is_zoo(backbone) else 1.0
    return _FROM_SCRATCH_LR[optimizer] * factor


def set_lr(optimizer: Optimizer, factor: float) -> float:
    """Set every group's learning rate; return that of the head."""
    for group in optimizer.param_groups:
        group["lr"] = optimizer.defaults["lr"] * group["scale"] * factor
    return float(optimizer.param_groups[0]["lr"])


def l1_norm(optimizer: Optimizer) -> Tensor:
    """The sum of absolute weights, biases and norms left out, of what is open."""
    decayed = (group["params"] for group in optimizer.param_groups if group["decayed"])
    return torch.stack([p.abs().sum() for ps in decayed for p in ps if p.requires_grad]).sum()


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as tensors by name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if value is not None
    }


def load_optimizer_tensors(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave.

    Raises:
        ModelError: it was given by an optimizer of other weights.

    """
    shapes = [p.shape for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        known = number.isdecimal() and int(number) < len(shapes)
        if not known or (value.ndim and value.shape != shapes[int(number)]):
            raise ModelError(
                "the state in resume/ is damaged: the optimizer's part of it is of other weights. "
                "Train anew, without --resume"
            )
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def lay_out_moments(optimizer: Optimizer) -> None:
    """Lay moments out in memory as their weights are: fused rules walk both as they lie."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter.detach()).copy_(value)


def _groups(
    parameters: Iterable[nn.Parameter], scale: float, plan: FitConfig
) -> list[dict[str, Any]]:
    """One group with weight decay and one without."""
    parameters = list(parameters)
    return [
        {
            "params": [p for p in parameters if (p.ndim > 1) == decayed],
            "weight_decay": plan.weight_decay if decayed else 0.0,
            "scale": scale,
            "decayed": decayed,
        }
        for decayed in (True, False)
    ]
