"""The report's figures, as SVG in the page: sharp on any screen, in the page's own ink."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from petclassify.report.metrics import ReliabilityBin
from petclassify.report.plots import BEST_COLOUR, PLAIN_TEXT, TRAIN_COLOUR, VAL_COLOUR

_INK = "#010203"  # matplotlib knows no currentColor; this stands for it until the SVG is written
_STYLE: Any = PLAIN_TEXT | {  # keys that matplotlib types one by one
    "svg.fonttype": "none",
    "font.size": 11,
    "font.family": "sans-serif",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
}


def draw_reliability(before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin]) -> Markup:
    """Draw accuracy against confidence, before and after calibration; larger dots hold more."""
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "reliability"}):
        figure = Figure(figsize=(4.6, 4.4), layout="constrained")
        axes = figure.subplots()
        low = 100 * min(one.confidence for one in (*before, *after))
        low = max(0, 10 * np.floor(low / 10) - 2)
        axes.plot([low, 100], [low, 100], color=_INK, linewidth=1, alpha=0.5)
        for bins, colour, label in (
            (before, TRAIN_COLOUR, "before calibration"),
            (after, VAL_COLOUR, "after: as the model file says"),
        ):
            counts = np.array([one.count for one in bins])
            axes.scatter(
                [100 * one.confidence for one in bins],
                [100 * one.accuracy for one in bins],
                s=20 + 180 * np.sqrt(counts / counts.sum()),
                color=colour,
                alpha=0.75,
                label=label,
                clip_on=False,
                zorder=3,
            )
        lowest = min(low, *(100 * one.accuracy for one in (*before, *after)))
        axes.set(
            xlabel="the model says, %", ylabel="it is right, %", xlim=(low, 100), ylim=(lowest, 100)
        )
        _finish(axes)
        figure.legend(loc="outside upper left", frameon=False, markerscale=0.6)
        return _as_svg(figure)


def draw_coverage(
    accuracy: NDArray[np.float64], known_share: float, known_accuracy: float | None
) -> Markup:
    """Draw accuracy against the share of photos that is answered, the surest first.

    Args:
        accuracy: (N,), see `metrics.accuracy_by_coverage`.
        known_share: of the photos that the model calls known.
        known_accuracy: on these; None where there are none.

    """
    with mpl.rc_context(_STYLE | {"svg.hashsalt": "coverage"}):
        figure = Figure(figsize=(4.6, 4.4), layout="constrained")
        axes = figure.subplots()
        shares = 100 * np.arange(1, len(accuracy) + 1) / len(accuracy)
        axes.step(shares, 100 * accuracy, where="post", color=VAL_COLOUR, label="the surest photos")
        low = 100 * float(accuracy[len(accuracy) // 20 :].min())
        if known_accuracy is not None:
            axes.plot(
                [100 * known_share],
                [100 * known_accuracy],
                "D",
                color=BEST_COLOUR,
                label="the known photos",
                clip_on=False,
            )
            low = min(low, 100 * known_accuracy)
        axes.set(
            xlabel="photos that get an answer, %",
            ylabel="of these it is right, %",
            xlim=(0, 100),
            ylim=(low - max(0.15 * (100 - low), 1), 100),
        )
        axes.ticklabel_format(axis="y", useOffset=False)
        _finish(axes)
        figure.legend(loc="outside upper left", frameon=False)
        return _as_svg(figure)


def _finish(axes: mpl.axes.Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _as_svg(figure: Figure) -> Markup:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    drawing = text[text.index("<svg") :].replace(_INK, "currentColor")
    return Markup(drawing)  # noqa: S704  numbers and fixed words only
