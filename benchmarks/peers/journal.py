"""What a peer's training notes while it runs: its accuracy on the test photos, and when.

The clock starts when the process is started (`BENCH_STARTED`, seconds since 1970), so that
imports count. It stands still while the test photos are judged: that is our wish, not the peer's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GOAL = 0.99


class Journal:
    """The points of one training's curve, written to a JSON file after each of them."""

    def __init__(self, path: Path, budget_s: float) -> None:
        self._path = path
        self._budget_s = budget_s
        self._started = float(os.environ["BENCH_STARTED"])
        self._judging_s = 0.0
        self._points: list[dict[str, float]] = []

    def seconds(self) -> float:
        """Since the start of the process, without judging."""
        return time.time() - self._started - self._judging_s

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Stop the clock."""
        start = time.time()
        yield
        self._judging_s += time.time() - start

    def epoch(self, accuracy: float, log_loss: float) -> bool:
        """Note an epoch; returns whether to stop: the goal is reached, or time is up."""
        before = self._points[-1]["seconds"] if self._points else 0.0
        now = self.seconds()
        self._points.append({"seconds": now, "accuracy": accuracy, "log_loss": log_loss})
        print(f"{now:.0f} s: accuracy {accuracy:.2%}, log loss {log_loss:.4f}", flush=True)
        self._write(None)
        return accuracy >= GOAL or now + (now - before) > self._budget_s

    def exported(self) -> None:
        """Note that the trained model lies on disk."""
        self._write(self.seconds())

    def _write(self, exported_s: float | None) -> None:
        found = {"points": self._points, "judging_s": self._judging_s, "exported_s": exported_s}
        self._path.write_text(json.dumps(found))
