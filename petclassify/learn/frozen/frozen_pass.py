"""The frozen pass: each photo and its mirror image once through the frozen backbone.

Threads decode ahead of the network, at most a few batches, so memory stays flat
however many photos there are. Each batch goes to the cache as soon as it is done: a
killed pass goes on where it stopped.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from petclassify.arrays import Pixels
from petclassify.errors import ImageError
from petclassify.images.index import Split
from petclassify.learn.backbones.backbone import Backbone
from petclassify.learn.data.ahead import decoded_ahead
from petclassify.learn.frozen.engines import (
    RACE_PHOTOS,
    Engine,
    fastest_engine,
    require_finite,
)
from petclassify.learn.frozen.feature_cache import FeatureCache
from petclassify.learn.progress import track

log = logging.getLogger(__name__)

FITTED_SPLITS: tuple[Split, ...] = ("train", "val")
FITTED_VIEWS = 2  # each photo and its mirror image
BATCH_SIZE = 32
_BATCHES_AHEAD = 4

# Where each photo lies, by the digest of its content; 1 for the photo alone, 2 for its mirror
# image too.
Request = tuple[Mapping[str, Path], int]


class FrozenPass:
    """A frozen backbone with its cache, and the engine that runs it here.

    Attributes:
        backbone: the network.
        cache: of the engine that runs it. A cache that is filled already prefers the engine
            that filled it; where that is not installed, a race on the first photos decides.

    """

    def __init__(self, backbone: Backbone, cache: FeatureCache) -> None:
        self.backbone = backbone
        self.cache = cache
        self._engine: Engine | None = None

    def run(self, requests: Sequence[Request], max_unreadable: int) -> dict[str, ImageError]:
        """Bring the features of every photo into the cache.

        Args:
            requests: photos with the number of views that they need. All of them are served
                by one engine.
            max_unreadable: the pass stops early once more photos than this cannot be read.

        Returns:
            The photos that could not be read, by digest.

        """
        unreadable: dict[str, ImageError] = {}
        if any(len(self.cache.known(photos, views)) < len(photos) for photos, views in requests):
            everything = [pair for photos, _ in requests for pair in photos.items()]
            self._choose_engine(everything, unreadable, max_unreadable)
        for photos, views in requests:
            if len(unreadable) <= max_unreadable:
                self._fill(photos, views, unreadable, max_unreadable)
        return unreadable

    def _fill(
        self,
        photos: Mapping[str, Path],
        views: int,
        unreadable: dict[str, ImageError],
        max_unreadable: int,
    ) -> None:
        known = self.cache.known(photos, views)
        missing = [
            (digest, path)
            for digest, path in photos.items()
            if digest not in known and digest not in unreadable
        ]
        if photos:
            log.info("features: %d photos from the cache, %d to compute", len(known), len(missing))
        decoded = decoded_ahead(missing, self.backbone.resize, BATCH_SIZE * _BATCHES_AHEAD)
        readable = _readable(decoded, unreadable, max_unreadable)
        computed, unreadable_before = 0, len(unreadable)
        with track(len(missing), "features", "photos") as advance:
            for digests, pixels in _batched(readable, BATCH_SIZE):
                self.cache.put(digests, self._features(pixels, views))
                computed += len(digests)
                advance(computed + len(unreadable) - unreadable_before)
                if len(unreadable) > max_unreadable:
                    break

    def _choose_engine(
        self,
        photos: Iterable[tuple[str, Path]],
        unreadable: dict[str, ImageError],
        max_unreadable: int,
    ) -> None:
        # Closed before the race: threads that decode would take its processors.
        with closing(decoded_ahead(photos, self.backbone.resize, RACE_PHOTOS)) as decoded:
            readable = _readable(decoded, unreadable, max_unreadable)
            first = next(_batched(readable, RACE_PHOTOS), None)
        if first is not None:
            self._engine = fastest_engine(
                self.backbone.extractor, first[1], prefer=self.cache.engine
            )
            self.cache = self.cache.with_engine(self._engine.name)

    def _features(self, pixels: Pixels, views: int) -> NDArray[np.float32]:
        """(N, height, width, 3) -> (N, views, num_features)."""
        assert self._engine is not None
        flipped = [pixels, np.ascontiguousarray(pixels[:, :, ::-1])][:views]
        features = np.stack([self._engine.run(view) for view in flipped], axis=1)
        require_finite(features)  # the race saw a few photos only
        return features


def _readable(
    decoded: Iterable[tuple[str, Pixels | ImageError]],
    unreadable: dict[str, ImageError],
    max_unreadable: int,
) -> Iterator[tuple[str, Pixels]]:
    """Those that can be read, until far too many cannot: a batch more, to name these too."""
    for digest, outcome in decoded:
        if isinstance(outcome, ImageError):
            unreadable[digest] = outcome
            if len(unreadable) > max_unreadable + BATCH_SIZE:
                return
        else:
            yield digest, outcome


def _batched(
    decoded: Iterator[tuple[str, Pixels]], size: int
) -> Iterator[tuple[list[str], Pixels]]:
    while batch := list(itertools.islice(decoded, size)):
        yield [digest for digest, _ in batch], np.stack([pixels for _, pixels in batch])
