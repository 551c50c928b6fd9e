"""A network with its top open: what is frozen, what is trained, and in which mode.

Batch norms of a pretrained network keep their statistics, in open stages too: a batch of
32 tells less about photos than the millions that they were learned on. From random weights
they learn their statistics as usual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from petclassify.arrays import Pixels
from petclassify.learn.backbones.backbone import FeatureExtractor
from petclassify.learn.backbones.stages import Stage, open_top
from petclassify.learn.frozen.engines import Forward, fastest_engine
from petclassify.learn.tuning.cut import cut
from petclassify.learn.tuning.fit_state import Tensors
from petclassify.learn.tuning.folding import fold_norms
from petclassify.learn.tuning.kept_biases import compute_biases_anew


@dataclass(frozen=True)
class Opened:
    """A network whose top is open.

    Attributes:
        stages: how many are open.
        frozen: runs the part below; None where the open part takes pixels.
        module: the open part, the dropout, the head; to logits.
        pretrained: whether norms keep their statistics.

    """

    stages: int
    frozen: Forward | None
    module: nn.Sequential
    pretrained: bool

    def train_mode(self) -> None:
        """Switch on what acts in training only."""
        self.module.train(mode=not self.pretrained)
        self.module[1].train()  # the dropout before the head
        compute_biases_anew(self.module)


@dataclass(frozen=True)
class Trainable:
    """A backbone and a head that are about to change.

    Attributes:
        extractor: pixels to features.
        head: features to logits.
        stages: all of the backbone's, stem first.
        pretrained: whether the backbone's weights are.
        engine: which runs the frozen part; None keeps it in torch, with the rest.

    """

    extractor: FeatureExtractor
    head: nn.Linear
    stages: Sequence[Stage]
    pretrained: bool
    engine: str | None

    def opened(self, count: int, dropout: float, pixels: Pixels) -> Opened:
        """Open the last `count` stages and cut off what stays frozen.

        Args:
            count: how many stages.
            dropout: share of the features that training zeroes before the head.
            pixels: of a few photos, for engines to race on if the preferred one is gone.

        """
        self.extractor.eval()
        open_top(self.extractor.network, list(self.stages), count)
        open_part: nn.Module = self.extractor
        frozen: Forward | None = None
        if self.engine is not None:
            parts = cut(self.extractor)
            open_part = parts.open
            if parts.frozen is not None:
                frozen = fastest_engine(parts.frozen, pixels, prefer=self.engine).run
        if self.pretrained:
            open_part = fold_norms(open_part)
        module = nn.Sequential(open_part, nn.Dropout(dropout), _InFullPrecision(self.head))
        return Opened(count, frozen, module, self.pretrained)

    def tensors(self, open_stages: int) -> Tensors:
        """What training may change, by name, while no more stages than these ever open.

        The tensors share their memory with the network.
        """
        opened = {n for s in self.stages[len(self.stages) - open_stages :] for n in s.parameters}
        network = self.extractor.network
        closed = {name for name, _ in network.named_parameters()} - opened
        return {
            f"network.{name}": value
            for name, value in network.state_dict().items()
            if name not in closed
        } | {f"head.{name}": value for name, value in self.head.state_dict().items()}

    def load(self, tensors: Tensors) -> None:
        """Put back what `tensors` gave."""
        network = {
            k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")
        }
        head = {k.removeprefix("head."): v for k, v in tensors.items() if k.startswith("head.")}
        self.extractor.network.load_state_dict(network, strict=False)
        self.head.load_state_dict(head)


class _InFullPrecision(nn.Module):
    """Runs a module outside autocast: rounded logits would choose epochs and temperatures."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            outputs: Tensor = self.module(inputs.float())
        return outputs


def copied(tensors: Tensors) -> Tensors:
    """The same values in memory of their own."""
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


def follow(average: Tensors, tensors: Tensors, decay: float, steps: int) -> None:
    """Take a running average one step further; counters, which have none, are left alone.

    The decay rises to its full size over the first steps, so that the start, which may be
    random, is soon forgotten: as in timm and TensorFlow.
    """
    decay = min(decay, (1 + steps) / (10 + steps))
    names = [name for name, value in average.items() if torch.is_floating_point(value)]
    update: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    update([average[name] for name in names], [tensors[name] for name in names], None)
