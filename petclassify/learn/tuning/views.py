"""What the open part of a network is fed: views of photos, through the frozen part if any.

The rule for running the frozen part: once per view. A view that comes again, which is a
validation photo's, and a training photo's where nothing is changed at random, is decoded
and run once and kept in memory, as long as KEPT_BYTES allow; reading it back always costs
less than a forward pass. A view changed at random never comes again, so nothing is kept.

Decoding and computing take turns: on a processor, threads that decode while the network
runs keep its threads waiting for one another, which costs more than the gaps they fill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from petclassify.arrays import Pixels
from petclassify.config import NO_AUGMENTATION, Augmentation, Resize
from petclassify.errors import DataError, ImageError
from petclassify.images.photo import read_image, read_pixels
from petclassify.learn.data.ahead import done_ahead
from petclassify.learn.frozen.engines import Forward
from petclassify.learn.tuning.augment import augment

KEPT_BYTES = 1 << 30


ReadView = Callable[[int], Pixels]


def plain_views(photos: Sequence[Path], resize: Resize) -> ReadView:
    """Photos by number, as prediction sees them."""
    return lambda number: _read(photos[number], lambda path: read_pixels(path, resize))


def changed_views(
    photos: Sequence[Path],
    resize: Resize,
    changes: Augmentation,
    fill: tuple[int, int, int],
    seed: tuple[int, int],
) -> ReadView:
    """Photos by number, changed at random.

    Args:
        photos: where they lie.
        resize: the window.
        changes: what may change.
        fill: colour of empty corners.
        seed: of the run, and the epoch. With the photo's number it decides every draw.

    """
    needed = int(resize.shorter_side / np.sqrt(changes.scale)) + 1

    def read(number: int) -> Pixels:
        generator = np.random.default_rng([*seed, number])
        return _read(
            photos[number],
            lambda path: augment(read_image(path, needed), resize, changes, fill, generator),
        )

    return read


class Views:
    """Batches of what the open part takes.

    Args:
        read: gives a photo's pixels by its number.
        frozen: the frozen part; None where the open part takes the pixels themselves.
        keep: whether the same views come again.

    """

    def __init__(self, read: ReadView, frozen: Forward | None, *, keep: bool) -> None:
        self._read = read
        self._frozen = frozen
        self._keep = keep
        self._kept: dict[int, NDArray[np.generic]] = {}
        self._bytes = 0

    def batches(self, order: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """Yield a tensor for each batch of photo numbers."""
        for batch in order:
            fresh = [number for number in batch if number not in self._kept]
            decoded = list(done_ahead(self._read, fresh, limit=len(batch) + 1))
            rows = dict(zip(fresh, self._run(decoded), strict=True))
            yield torch.from_numpy(
                np.stack([rows[n] if n in rows else self._kept[n] for n in batch])
            )
            if self._keep:
                self._remember(rows)

    def _run(self, pixels: list[Pixels]) -> NDArray[np.generic]:
        if not pixels:
            return np.empty(0)
        stacked = np.stack(pixels)
        return stacked if self._frozen is None else self._frozen(stacked)

    def _remember(self, rows: dict[int, NDArray[np.generic]]) -> None:
        for number, row in rows.items():
            if self._bytes + row.nbytes <= KEPT_BYTES:
                self._bytes += row.nbytes
                self._kept[number] = row.copy()


def is_off(changes: Augmentation) -> bool:
    """Whether nothing changes at random."""
    return changes == NO_AUGMENTATION


def _read(path: Path, decode: Callable[[Path], Pixels]) -> Pixels:
    try:
        return decode(path)
    except ImageError as error:
        raise DataError(
            f"{error}. It could be read when this run began: put it back and go on (train with "
            "--resume, compare when repeated), or train anew without it"
        ) from error
