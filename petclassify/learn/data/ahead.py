"""Work done on threads ahead of its consumer, in order, never more than a little."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from petclassify.arrays import Pixels
from petclassify.config import Resize
from petclassify.cores import usable_cores
from petclassify.errors import ImageError, ImageFault
from petclassify.images.digests import digest_photo
from petclassify.images.photo import read_pixels

Task = TypeVar("Task")
Done = TypeVar("Done")


def done_ahead(work: Callable[[Task], Done], tasks: Iterable[Task], limit: int) -> Generator[Done]:
    """Yield what `work` gives for each task, in order, at most `limit` tasks ahead.

    Pillow releases the interpreter while it decodes, so threads are enough.
    """
    pending: deque[Future[Done]] = deque()
    pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
    try:
        for task in tasks:
            pending.append(pool.submit(work, task))
            if len(pending) >= limit:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def decoded_ahead(
    photos: Iterable[tuple[str, Path]], resize: Resize, limit: int
) -> Generator[tuple[str, Pixels | ImageError]]:
    """Decode ahead of the consumer, in order, at most `limit` photos."""

    def decode(photo: tuple[str, Path]) -> tuple[str, Pixels | ImageError]:
        digest, path = photo
        try:
            pixels = read_pixels(path, resize)
        except ImageError as error:
            return digest, error.alone()
        if digest_photo(path) != digest:  # else the cache would be wrong for good
            return digest, ImageError(ImageFault.UNREADABLE, "changed while it was read", path)
        return digest, pixels

    return done_ahead(decode, photos, limit)
