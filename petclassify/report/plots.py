"""Pictures of a run, by matplotlib. Colours are told apart by the colour-blind too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from petclassify.report.history import StrengthTried

TRAIN_COLOUR, VAL_COLOUR, BEST_COLOUR = "#7f7f7f", "#0072b2", "#d55e00"


def draw_head_search(
    points: Sequence[StrengthTried], chosen: float, title: str, path: Path
) -> None:
    """Draw log loss and accuracy against the head's strength, the chosen one marked.

    Args:
        points: from strong to weak.
        chosen: the strength that was taken.
        title: over the picture.
        path: of the PNG to write.

    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    strengths = [point.strength for point in points]
    _draw_pair(loss, strengths, [p.train_loss for p in points], [p.val_loss for p in points])
    loss.set_ylabel("log loss")
    loss.set_yscale("log")
    _draw_pair(
        accuracy,
        strengths,
        [100 * p.train_accuracy for p in points],
        [100 * p.val_accuracy for p in points],
    )
    accuracy.set_ylabel("accuracy, %")
    for axes in (loss, accuracy):
        axes.axvline(chosen, color=BEST_COLOUR, linestyle="--", label=f"chosen: {chosen:g}")
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
        axes.minorticks_off()
        axes.set_xlabel("L2 penalty of the head (strong to weak)")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    figure.suptitle(title.encode("utf-8", "replace").decode(), parse_math=False)
    figure.savefig(path, dpi=120, format="png")


def _draw_pair(
    axes: Axes, strengths: Sequence[float], train: Sequence[float], val: Sequence[float]
) -> None:
    axes.plot(strengths, train, "o-", color=TRAIN_COLOUR, label="photos it was fitted on")
    axes.plot(strengths, val, "o-", color=VAL_COLOUR, label="photos held out")
