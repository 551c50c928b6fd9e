"""What all requests share: the model, its workers, the memory for bodies, the metrics."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from petclassify.cores import usable_cores
from petclassify.errors import ImageError
from petclassify.images.photo import count_decoded_pixels
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.explain import Explainer
from petclassify.runtime.model_file import (
    file_of,
    model_name,
    parse_model,
    read_model,
    refusals_named,
)
from petclassify.runtime.scoring import THREADS_IN_NETWORK
from petclassify.runtime.serve.batching import Batcher, Outcome, QueueFullError, Upload
from petclassify.runtime.serve.intake import RETRY_AFTER, HeldBytes, Refusal
from petclassify.runtime.serve.metrics import Metrics

MAX_DRAWN_AT_ONCE = 16  # heat maps, waiting ones included
# Seconds between bodies; of a process that was stopped midway, one would seem to take hours.
MAX_PAUSE = 1.0

Parsed = TypeVar("Parsed")


class Service:
    """A loaded model, ready to answer.

    Attributes:
        name: of the model: its file's, or that of the run folder that holds it.
        classifier: the model.
        memory: of all bodies together.
        metrics: of the server.
        stopping: a signal came; no new work should be sent here.
        explains: whether the model can show where it looked.

    """

    def __init__(self, model: Path) -> None:
        """Load a model file, or the one in a run folder, and start its workers.

        Raises:
            ModelError: the file is refused.

        """
        path = file_of(model)
        # Kept, so that a model trained meanwhile does not explain what this one said.
        self._content = read_model(path)
        with refusals_named(path):
            self.classifier = Classifier(*parse_model(self._content, THREADS_IN_NETWORK))
        self.name = model_name(model)
        self.memory = HeldBytes()
        self.metrics = Metrics()
        self.stopping = False
        self.explains = self.classifier.info.activations is not None
        self._batcher = Batcher(self.classifier, usable_cores(), self.metrics.count_batch)
        # Parsing holds the interpreter's lock; one at a time, with a pause as long as itself after
        # each, leaves room for the event loop.
        self._parser = ThreadPoolExecutor(1, thread_name_prefix="parse")
        self._may_parse = asyncio.Lock()
        self._drawer = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self._drawing = 0
        self.metrics.watch(
            "petclassify_waiting_photos", "Photos in the queue.", lambda: self._batcher.waiting
        )
        self.metrics.watch("petclassify_held_bytes", "Bodies in memory.", lambda: self.memory.held)

    def close(self) -> None:
        """Finish what waits."""
        self._batcher.close()
        self._parser.shutdown()
        self._drawer.shutdown()

    def admit(self) -> None:
        """Turn a request away before its body is read, if its photos could not wait anyway.

        Raises:
            Refusal: the queue is full.

        """
        if self._batcher.waiting >= self._batcher.capacity:
            raise _busy()

    def admit_drawing(self) -> None:
        """Turn a request for a picture away before its body is read, if there can be none.

        Raises:
            Refusal: the model cannot tell, or too many wait for pictures.

        """
        if not self.explains:
            raise Refusal(404, "no_heat_map", "this model's network makes no activation maps")
        if self._drawing >= MAX_DRAWN_AT_ONCE:
            raise _busy()

    async def parse(self, parse: Callable[[], Parsed]) -> Parsed:
        """Take a body apart, off the event loop."""
        loop = asyncio.get_running_loop()
        await self._may_parse.acquire()
        start = loop.time()
        try:
            return await loop.run_in_executor(self._parser, parse)
        finally:
            pause = min(loop.time() - start, MAX_PAUSE)
            loop.call_later(pause, self._may_parse.release)

    async def classify(self, photos: Sequence[Upload]) -> list[Outcome]:
        """Classify photos, all of one request.

        Raises:
            Refusal: the queue has no room for them.
            ModelError: the network fails.

        """
        try:
            futures = self._batcher.submit(photos)
        except QueueFullError:
            raise _busy() from None
        outcomes = await asyncio.gather(*map(asyncio.wrap_future, futures))
        for outcome in outcomes:
            self.metrics.count_photo(_named(outcome))
        return outcomes

    async def explain(self, photo: bytes) -> bytes:
        """Draw where the model looked: a PNG.

        Raises:
            Refusal: the model cannot tell, or too many wait for pictures.
            ImageError: the photo cannot be used.

        """
        self.admit_drawing()  # the queue may have filled since
        self._drawing += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._drawer, self._draw, photo)
        finally:
            self._drawing -= 1

    def _draw(self, photo: bytes) -> bytes:
        shortest_side = self.classifier.info.preprocessing.shorter_side
        with self._batcher.budget.taken(count_decoded_pixels(photo, shortest_side)):
            overlay = self._explainer.explain(photo).overlay
        picture = io.BytesIO()
        overlay.save(picture, format="png", compress_level=1)  # five times faster, a tenth larger
        return picture.getvalue()

    @cached_property
    def _explainer(self) -> Explainer:
        """A second session, loaded by the first who asks: only the drawer's thread does."""
        return Explainer.parse(self._content, THREADS_IN_NETWORK)


def _busy() -> Refusal:
    return Refusal(503, "busy", "too many photos are waiting; try again", RETRY_AFTER)


def _named(outcome: Outcome) -> str:
    if isinstance(outcome, ImageError):
        return str(outcome.kind)
    return "known" if outcome.known else "unknown"
