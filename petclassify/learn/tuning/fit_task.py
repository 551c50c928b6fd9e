"""What is fitted, on what: the task that `learn.tuning.fit` works through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petclassify.config import FitConfig, Resize
from petclassify.learn.tuning.fit_state import Tensors
from petclassify.learn.tuning.opened import Opened, Trainable
from petclassify.learn.tuning.schedule import Phase
from petclassify.learn.tuning.views import Pixels, plain_views


@dataclass(frozen=True)
class Photos:
    """Photos with their labels."""

    paths: Sequence[Path]
    labels: Sequence[int]


@dataclass(frozen=True)
class FitTask:
    """What is fitted, on what.

    Attributes:
        plan: the levers.
        phases: which stages open when.
        seed: of everything random.
        network: what changes.
        resize: photo to window.
        train, val: the photos.

    """

    plan: FitConfig
    phases: Sequence[Phase]
    seed: int
    network: Trainable
    resize: Resize
    train: Photos
    val: Photos

    @property
    def open_stages(self) -> int:
        """How many stages are open in the end."""
        return self.phases[-1].open_stages

    def tensors(self) -> Tensors:
        """What this fit may change."""
        return self.network.tensors(self.open_stages)

    def open(self, phase: Phase) -> Opened:
        """Open the network for a phase."""
        pixels = self.first_pixels(8)
        return self.network.opened(phase.open_stages, self.plan.dropout, pixels)

    def first_pixels(self, count: int) -> Pixels:
        """Of a few training photos, for races."""
        read = plain_views(self.train.paths, self.resize)
        return np.stack([read(number) for number in range(min(count, len(self.train.paths)))])
