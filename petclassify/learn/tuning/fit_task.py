"""What is fitted, on what: the task that `learn.tuning.fit` works through."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petclassify.arrays import Pixels
from petclassify.config import FitConfig, Resize
from petclassify.learn.tuning.batches import shuffled
from petclassify.learn.tuning.fit_state import Tensors
from petclassify.learn.tuning.opened import Opened, Trainable, copied
from petclassify.learn.tuning.schedule import Phase
from petclassify.learn.tuning.views import Views, changed_views, is_off, plain_views


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

    def train_views(self, epoch: int, opened: Opened) -> Views:
        """The training photos as an epoch sees them, changed at random unless that is off."""
        changes = self.plan.augmentation
        if is_off(changes):
            return Views(plain_views(self.train.paths, self.resize), opened.frozen, keep=True)
        fill = self.network.extractor.mean_colour
        read = changed_views(self.train.paths, self.resize, changes, fill, (self.seed, epoch))
        return Views(read, opened.frozen, keep=False)

    def batches(self, epoch: int, processes: int) -> list[list[int]]:
        """An epoch's training photos by number, shuffled.

        Every process has one photo of a batch at least; two, where norms learn, since one has
        no deviation.

        Raises:
            UsageError: there are too few for that.

        """
        least = processes * (1 if self.network.pretrained else 2)
        count, size = len(self.train.paths), self.plan.batch_size
        return shuffled(count, size, least, (self.seed, epoch))

    @contextmanager
    def holding(self, average: Tensors) -> Iterator[None]:
        """Let the network hold the running average, if there is one, for a while."""
        if not average:
            yield
            return
        own = copied(self.tensors())
        self.network.load(average)
        try:
            yield
        finally:
            self.network.load(own)
