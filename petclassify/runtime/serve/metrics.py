"""What Prometheus reads at /metrics.

prometheus-client writes the text format: pure Python, no dependencies, and kept by the
people who define the format. Ours would be a page of escaping rules and histograms.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from petclassify.runtime.scoring import BATCH_SIZE

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "petclassify_requests",
            "Requests answered.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "petclassify_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._photos = Counter(
            "petclassify_photos",
            "Photos classified (known or unknown) or refused (by the fault's name).",
            ["outcome"],
            registry=self._registry,
        )
        self._batches = Histogram(
            "petclassify_batch_photos",
            "Photos in one run of the network.",
            buckets=range(1, BATCH_SIZE + 1),
            registry=self._registry,
        )

    def watch(self, name: str, about: str, read: Callable[[], float]) -> None:
        """Report a figure that is read when asked for."""
        Gauge(name, about, registry=self._registry).set_function(read)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """One request was answered; `route` is a path of ours, never one of the client's."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_photo(self, outcome: str) -> None:
        """One photo was classified or refused."""
        self._photos.labels(outcome).inc()

    def count_batch(self, photos: int) -> None:
        """The network ran once."""
        self._batches.observe(photos)

    def text(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self._registry)
