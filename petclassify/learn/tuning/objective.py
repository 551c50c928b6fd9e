"""What the fit minimises, and the sums that become an epoch's training figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from petclassify.config import FitConfig


class Objective:
    """Cross-entropy with class weights and smoothed labels.

    Args:
        plan: the levers.
        labels: of all training photos; balanced class weights come from them.
        num_classes: how many classes there are.
        device: where the logits are.

    """

    def __init__(
        self, plan: FitConfig, labels: Sequence[int], num_classes: int, device: torch.device
    ) -> None:
        self._plan = plan
        weights = torch.ones(num_classes)
        if plan.class_weights == "balanced":
            counts = np.bincount(labels, minlength=num_classes)
            weights = torch.from_numpy(counts.sum() / (num_classes * counts)).float()
        self._weights = weights.to(device)

    def total(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of all photos together; divide by their `weight` for the mean."""
        return nn.functional.cross_entropy(
            logits,
            labels,
            weight=self._weights,
            reduction="sum",
            label_smoothing=self._plan.label_smoothing,
        )

    def weight(self, labels: Tensor) -> Tensor:
        """What the photos weigh together."""
        return self._weights[labels].sum()


class Tally:
    """Sums over the photos that this process saw in an epoch.

    Attributes:
        sums: loss, weight, and photos that were classified rightly.
        seen: photos.

    """

    def __init__(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64)
        self.seen = 0

    def add(self, loss: float, weight: float, logits: Tensor, labels: Tensor) -> None:
        """Count a batch."""
        right = int((logits.argmax(dim=1) == labels).sum().item())
        self.sums += torch.tensor([loss, weight, right], dtype=torch.float64)
        self.seen += len(labels)

    def __str__(self) -> str:
        loss, weight, right = self.sums.tolist()
        return f"loss {loss / weight:.4f}, accuracy {right / self.seen:.1%}"
