"""Networks side by side: the figures of each, as rows, as JSON, and as a picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from petclassify.report.metrics import share_interval
from petclassify.report.plots import PLAIN_TEXT

# Okabe and Ito 2008: told apart by the colour-blind too. Markers change with each round.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c8c00")
_MARKERS = "os^Dvp"
_LONG_NAME = 30
_MIN_BUBBLE, _BUBBLE_PER_MB = 30.0, 5.0


@dataclass(frozen=True)
class Compared:
    """One network, trained and judged.

    Attributes:
        network: its name.
        weights: "none" where it was trained from scratch.
        image_size: side of its window in pixels.
        epochs: done; 0 where only a head was fitted.
        seconds: from photos to model file.
        val_count: photos that val_accuracy is of.
        val_accuracy, val_log_loss: of what was exported.
        test_accuracy, test_log_loss: likewise; None where the data set has no test split.
        latency_ms: one photo from file to probabilities, model loaded; the median.
        parameters: of the network with its head.
        macs: multiply-accumulates for one photo.
        size_bytes: of the model file.
        val_curve: validation accuracy after each epoch.

    """

    network: str
    weights: str
    image_size: int
    epochs: int
    seconds: float
    val_count: int
    val_accuracy: float
    val_log_loss: float
    test_accuracy: float | None
    test_log_loss: float | None
    latency_ms: float
    parameters: int
    macs: int
    size_bytes: int
    val_curve: tuple[float, ...]

    @property
    def val_interval(self) -> tuple[float, float]:
        """Between which values the validation accuracy lies with 95 % confidence."""
        return share_interval(round(self.val_accuracy * self.val_count), self.val_count)


@dataclass(frozen=True)
class Comparison:
    """What came of all networks.

    Attributes:
        title: the data set and the budget.
        rows: those that were trained, in the order asked for.
        failures: by network, why it could not be.

    """

    title: str
    rows: Sequence[Compared]
    failures: Mapping[str, str]

    def ranked(self) -> list[Compared]:
        """The best on val first; of equals the one with the lower log loss.

        Not on test: a network that was chosen by its test figures has none left to be judged by.
        """
        return sorted(self.rows, key=lambda one: (-one.val_accuracy, one.val_log_loss))

    def to_csv(self) -> str:
        """A row per network; the curves are in the JSON."""
        names = [field.name for field in fields(Compared) if field.name != "val_curve"]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(asdict(one) for one in self.ranked())
        return text.getvalue()

    def to_json(self, **about: Any) -> str:  # noqa: ANN401
        """All of it, and what else is to be kept with it."""
        content = about | {
            "title": self.title,
            "networks": [asdict(one) for one in self.ranked()],
            "failures": dict(self.failures),
        }
        return json.dumps(content, indent=2) + "\n"


@mpl.rc_context(PLAIN_TEXT)
def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw validation accuracy against time, a bubble as large as the model file, and all curves.

    Args:
        comparison: with one row at least.
        path: of the PNG to write.

    """
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    bubbles, curves = figure.subplots(1, 2)
    for place, one in enumerate(comparison.rows):
        colour = _COLOURS[place % len(_COLOURS)]
        area = _MIN_BUBBLE + _BUBBLE_PER_MB * one.size_bytes / 1e6
        marker = _MARKERS[place // len(_COLOURS) % len(_MARKERS)]
        at = one.seconds, 100 * one.val_accuracy
        bubbles.scatter(*at, s=area, color=colour, alpha=0.6, linewidth=0, clip_on=False)
        bubbles.plot(*at, marker, color=colour, markersize=3)
        label = f"{one.network}, {one.image_size} px, {100 * one.val_accuracy:.1f} %"
        if one.val_curve:
            epochs = range(1, len(one.val_curve) + 1)
            accuracy = [100 * share for share in one.val_curve]
            curves.plot(epochs, accuracy, f"{marker}-", markersize=3, color=colour, label=label)
        else:
            curves.axhline(
                100 * one.val_accuracy, color=colour, linestyle="--", label=f"{label}, head only"
            )
    bubbles.set_xscale("log")
    bubbles.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    bubbles.xaxis.set_major_formatter("{x:g}")
    bubbles.xaxis.set_minor_formatter(NullFormatter())
    bubbles.set_xlabel("seconds from photos to model file (area: size of the model file)")
    bubbles.set_ylabel("validation accuracy, %")
    bubbles.margins(0.15)
    bubbles.set_ylim(top=min(bubbles.get_ylim()[1], 101.0))
    curves.set_xlabel("epoch (that of the least validation loss ships)")
    curves.set_ylabel("validation accuracy, %")
    curves.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in (bubbles, curves):
        _plain(axes)
    longest = max(len(one.network) for one in comparison.rows)
    columns = 3 if longest < _LONG_NAME else 2
    figure.legend(*curves.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    figure.suptitle(comparison.title.encode("utf-8", "replace").decode(), parse_math=False)
    figure.savefig(path, dpi=120, format="png")


def _plain(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
