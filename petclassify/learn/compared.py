"""What a finished run says of its network, for a comparison: figures, size and speed."""

from __future__ import annotations

import csv
import statistics
import time

from petclassify.errors import ModelError
from petclassify.learn.backbones.layer_table import describe_network
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.report.comparison import Compared
from petclassify.runtime.classifier import Classifier

_LATENCY_PHOTOS = 20


def read_compared(network: str, folder: RunFolder) -> Compared:
    """A network's row, of a run that is finished.

    Raises:
        ModelError: the run's files were edited or are damaged.

    """
    try:
        return _read_whole(network, folder)
    except (
        *(LookupError, ValueError, TypeError, AttributeError, OSError, csv.Error),
        ModelError,
    ) as error:
        raise ModelError(
            f"{folder.path}: this run's files are edited or damaged. Remove the folder, and the "
            "same command trains the network anew"
        ) from error


def _read_whole(network: str, folder: RunFolder) -> Compared:
    figures = folder.read_json("metrics.json")
    asked = folder.read_json("config.json")
    size = int(asked["image_size"])
    table = describe_network(network, (3, size, size), len(figures["val"]["per_class"]))
    with folder.history.open(encoding="utf-8", newline="") as stream:
        curve = [float(row["val_accuracy"]) for row in csv.DictReader(stream) if row["epoch"]]
    val, test, seconds = figures["val"], figures.get("test", {}), figures["seconds"]
    return Compared(
        network=network,
        weights=str(asked["weights"]),
        image_size=size,
        epochs=len(curve),
        seconds=round(seconds["total"] - seconds["report"], 3),
        val_count=int(val["count"]),
        val_accuracy=float(val["accuracy"]),
        val_log_loss=float(val["log_loss"]),
        test_accuracy=test.get("accuracy"),
        test_log_loss=test.get("log_loss"),
        latency_ms=_latency_ms(folder),
        parameters=table.parameters,
        macs=table.macs,
        size_bytes=folder.model.stat().st_size,
        val_curve=tuple(curve),
    )


def _latency_ms(folder: RunFolder) -> float:
    """The median over a few validation photos, after one to warm up."""
    classifier = Classifier.load(folder.model)
    photos = [folder.data_root() / name for name in folder.photos_of("val")[:_LATENCY_PHOTOS]]
    times = []
    for photo in [photos[0], *photos]:
        start = time.perf_counter()
        classifier.predict(photo)
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times[1:]), 3)
