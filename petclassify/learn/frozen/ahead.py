"""Work done on threads ahead of its consumer, in order, never more than a little."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from petclassify.images.cores import usable_cores

Task = TypeVar("Task")
Done = TypeVar("Done")


def done_ahead(work: Callable[[Task], Done], tasks: Iterable[Task], limit: int) -> Iterator[Done]:
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
