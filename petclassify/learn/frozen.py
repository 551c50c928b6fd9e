"""The frozen pass: each photo and its mirror image once through the frozen backbone.

Threads decode ahead of the network, at most a few batches, so memory stays flat
however many photos there are. Each batch goes to the cache as soon as it is done: a
killed pass goes on where it stopped.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from petclassify.config import Resize
from petclassify.errors import ImageError
from petclassify.images.cores import usable_cores
from petclassify.images.photo import read_pixels
from petclassify.learn.backbones import Backbone
from petclassify.learn.engines import Engine, fastest_engine
from petclassify.learn.feature_cache import FeatureCache
from petclassify.learn.progress import track

log = logging.getLogger(__name__)

BATCH_SIZE = 32
_BATCHES_AHEAD = 4

Pixels = NDArray[np.uint8]


class FrozenPass:
    """A frozen backbone with its cache, and the engine that runs it here.

    The engine is chosen on the first photos that are computed, unless the cache remembers
    which one made its features.
    """

    def __init__(self, backbone: Backbone, cache: FeatureCache) -> None:
        self.backbone = backbone
        self.cache = cache
        self._engine: Engine | None = None

    def run(
        self, photos: Mapping[str, Path], views: int, max_unreadable: int
    ) -> dict[str, ImageError]:
        """Bring the features of every photo into the cache.

        Args:
            photos: where each photo lies, by the digest of its content.
            views: 1 for the photo alone, 2 for its mirror image too.
            max_unreadable: the pass stops early once more photos than this cannot be read.

        Returns:
            The photos that could not be read, by digest.

        """
        known = self.cache.known(photos, views)
        missing = [(digest, path) for digest, path in photos.items() if digest not in known]
        log.info("features: %d photos from the cache, %d to compute", len(known), len(missing))
        unreadable: dict[str, ImageError] = {}
        decoded = _decoded_ahead(missing, self.backbone.resize)
        computed = 0
        with track(len(missing), "features", "photos") as advance:
            for digests, pixels in _batched(_without_unreadable(decoded, unreadable)):
                self.cache.put(digests, self._features(pixels, views))
                computed += len(digests)
                advance(computed + len(unreadable))
                if len(unreadable) > max_unreadable:
                    break
        return unreadable

    def _features(self, pixels: Pixels, views: int) -> NDArray[np.float32]:
        """(N, height, width, 3) -> (N, views, num_features)."""
        if self._engine is None:
            self._engine = fastest_engine(self.backbone, pixels, only=self.cache.engine())
            self.cache.keep_engine(self._engine.name)
        flipped = [pixels, np.ascontiguousarray(pixels[:, :, ::-1])][:views]
        return np.stack([self._engine.run(view) for view in flipped], axis=1)


def _decoded_ahead(
    photos: Iterable[tuple[str, Path]], resize: Resize
) -> Iterator[tuple[str, Pixels | ImageError]]:
    """Decode on threads, in order, never more than a few batches ahead of the consumer."""

    def decode(path: Path) -> Pixels | ImageError:
        try:
            return read_pixels(path, resize)
        except ImageError as error:
            return error

    pending: deque[tuple[str, Future[Pixels | ImageError]]] = deque()
    pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
    try:
        for digest, path in photos:
            pending.append((digest, pool.submit(decode, path)))
            if len(pending) >= BATCH_SIZE * _BATCHES_AHEAD:
                oldest, future = pending.popleft()
                yield oldest, future.result()
        while pending:
            oldest, future = pending.popleft()
            yield oldest, future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _without_unreadable(
    decoded: Iterable[tuple[str, Pixels | ImageError]], unreadable: dict[str, ImageError]
) -> Iterator[tuple[str, Pixels]]:
    for digest, outcome in decoded:
        if isinstance(outcome, ImageError):
            unreadable[digest] = outcome
        else:
            yield digest, outcome


def _batched(decoded: Iterator[tuple[str, Pixels]]) -> Iterator[tuple[list[str], Pixels]]:
    while batch := list(itertools.islice(decoded, BATCH_SIZE)):
        yield [digest for digest, _ in batch], np.stack([pixels for _, pixels in batch])
