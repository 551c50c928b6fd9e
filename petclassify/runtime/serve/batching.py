"""Photos that wait for a worker, and the workers: off the event loop, one per core.

Each worker decodes a few photos and runs them through a network of one thread, as
`runtime.scoring` does for folders. Batches are formed of what waits already, so a lone photo
never waits for company. What waits is shared evenly: with two workers and two photos waiting
each takes one. Requests take turns, photo by photo, so a lone one does not wait for all of
another's 64, which may be as large as is allowed.

All workers together decode `MAX_DECODED_PIXELS` at a time, four photos of the largest size that
its kind may have (see `images.opening`), however many cores there are: each takes 380 MiB at most.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from petclassify.errors import ImageError
from petclassify.images.opening import MAX_PIXELS
from petclassify.images.photo import count_decoded_pixels
from petclassify.runtime.classifier import Classifier, Prediction
from petclassify.runtime.scoring import BATCH_SIZE, score_batch

Upload = bytes | NDArray[np.uint8]  # a file, or a window (height, width, 3) that is fitted already
Outcome = Prediction | ImageError

MAX_DECODED_PIXELS = 4 * MAX_PIXELS
WAITING_PER_WORKER = 64  # photos; the last of them waits about half a second


class QueueFullError(Exception):
    """More photos wait than may."""


class PixelBudget:
    """How many pixels are decoded at a time."""

    def __init__(self, most: int = MAX_DECODED_PIXELS) -> None:
        self._free = most
        self._most = most
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """Wait until so many more may be decoded; all that there are, if it asks for more."""
        count = min(count, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= count)
            self._free -= count
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()


@dataclass(frozen=True, eq=False)
class _Waiting:
    photo: Upload
    outcome: Future[Outcome] = field(default_factory=Future)


class Batcher:
    """A bounded queue of photos and the threads that empty it.

    Attributes:
        capacity: how many photos may wait.
        budget: of pixels that are decoded at a time, by whoever decodes.

    """

    def __init__(
        self, classifier: Classifier, workers: int, on_batch: Callable[[int], None] | None = None
    ) -> None:
        """Start the workers.

        Args:
            classifier: loaded with one thread.
            workers: at least 1.
            on_batch: called in a worker with how many photos the network is to run on.

        """
        self.capacity = WAITING_PER_WORKER * workers
        self._classifier = classifier
        self._workers = workers
        self._on_batch = on_batch
        self._requests: deque[deque[_Waiting]] = deque()  # whose turn it is, first
        self._waiting = 0
        self.budget = PixelBudget()
        self._changed = threading.Condition()
        self._closed = False
        # Daemons: a photo that takes a second to decode must not hold up a forced exit.
        self._threads = [
            threading.Thread(target=self._work, name=f"score-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many photos no worker has taken yet."""
        return self._waiting

    def submit(self, photos: Sequence[Upload]) -> list[Future[Outcome]]:
        """Queue photos, all or none; each future holds an outcome or the model's failure.

        Raises:
            QueueFullError: there is no room for all of them.

        """
        jobs = deque(_Waiting(photo) for photo in photos)
        outcomes = [job.outcome for job in jobs]
        with self._changed:
            if self._closed or self._waiting + len(jobs) > self.capacity:
                raise QueueFullError
            if jobs:
                self._requests.append(jobs)
            self._waiting += len(jobs)
            self._changed.notify(len(jobs))
        return outcomes

    def close(self) -> None:
        """Finish what waits and end the workers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._next_batch():
            self._score(batch)

    def _next_batch(self) -> list[_Waiting]:
        """Wait for photos and take this worker's share of them; none when all is done."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                share = min(BATCH_SIZE, -(-self._waiting // self._workers))
                taken = [self._next() for _ in range(share)]
                # A server that stops has cancelled those that take too long.
                if batch := [j for j in taken if j.outcome.set_running_or_notify_cancel()]:
                    return batch

    def _next(self) -> _Waiting:
        """Take a photo of the request whose turn it is; that one comes last then."""
        request = self._requests.popleft()
        taken = request.popleft()
        if request:
            self._requests.append(request)
        self._waiting -= 1
        return taken

    def _score(self, batch: list[_Waiting]) -> None:
        try:
            windows = [self._window(job.photo) for job in batch]
            count = sum(not isinstance(window, ImageError) for window in windows)
            if count and self._on_batch is not None:
                self._on_batch(count)
            outcomes = score_batch(self._classifier, windows)
        except Exception as error:  # whoever waits learns of it; the worker lives on
            for job in batch:
                job.outcome.set_exception(error)
            return
        for job, outcome in zip(batch, outcomes, strict=True):
            job.outcome.set_result(outcome)

    def _window(self, photo: Upload) -> NDArray[np.uint8] | ImageError:
        """What the network sees of a photo, or why it sees nothing."""
        if isinstance(photo, np.ndarray):
            return photo
        shortest_side = self._classifier.info.preprocessing.shorter_side
        try:
            with self.budget.taken(count_decoded_pixels(photo, shortest_side)):
                return self._classifier.pixels(photo)
        except ImageError as error:
            return error.alone()
