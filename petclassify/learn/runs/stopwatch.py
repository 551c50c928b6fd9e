"""Seconds by stage of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by stage, in the order of the stages."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self._stages[name] = round(time.perf_counter() - start, 3)

    def add(self, name: str, seconds: float) -> None:
        """Count time that an interrupted run spent on a stage already."""
        self._start -= seconds
        self._stages[name] = round(self._stages.get(name, 0.0) + seconds, 3)

    def seconds(self) -> dict[str, float]:
        """By stage, and in all."""
        return self._stages | {"total": round(time.perf_counter() - self._start, 3)}
