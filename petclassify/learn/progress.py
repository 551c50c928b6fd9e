"""Progress with rate and time left: a live bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0


@contextmanager
def track(total: int, what: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Show how far a long job is, on stderr.

    Yields:
        A function to call with the number of units done so far.

    """
    if sys.stderr.isatty():
        with _live(total, what, unit) as advance:
            yield advance
    else:
        yield _logged(total, what, unit)


@contextmanager
def _live(total: int, what: str, unit: str) -> Iterator[Callable[[int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} " + unit + "/s"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, rate=0.0)

        def advance(done: int) -> None:
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, rate=rate)

        yield advance


def _logged(total: int, what: str, unit: str) -> Callable[[int], None]:
    start = last = time.monotonic()

    def advance(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LOG_EVERY_S and done < total:
            return
        last = now
        rate = done / max(now - start, 1e-9)
        left_s = (total - done) / rate
        log.info("%s: %d/%d, %.0f %s/s, %.0f s left", what, done, total, rate, unit, left_s)

    return advance
