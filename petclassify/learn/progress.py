"""Progress with rate and time left: a live bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0


class Advance(Protocol):
    """Says how many units are done so far, and what else to show."""

    def __call__(self, done: int, note: str = "") -> None: ...


@contextmanager
def track(total: int, what: str, unit: str) -> Iterator[Advance]:
    """Show how far a long job is, on stderr.

    Yields:
        A function to call with the number of units done so far, and what else to show.

    """
    if total and sys.stderr.isatty() and log.isEnabledFor(logging.INFO):
        with _live(total, what, unit) as advance:
            yield advance
    else:
        yield _logged(total, what, unit)


@contextmanager
def _live(total: int, what: str, unit: str) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} " + unit + "/s"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, rate=0.0, note="")

        def advance(done: int, note: str = "") -> None:
            rate = done / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, rate=rate, note=note)

        yield advance


def _logged(total: int, what: str, unit: str) -> Advance:
    start = last = time.monotonic()

    def advance(done: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LOG_EVERY_S:
            return
        last = now
        rate = max(done, 1) / max(now - start, 1e-9)
        left_s = (total - done) / rate
        said = f", {note}" if note else ""
        log.info("%s: %d/%d, %.0f %s/s, %.0f s left%s", what, done, total, rate, unit, left_s, said)

    return advance
