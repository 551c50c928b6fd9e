"""Pictures of a run, by matplotlib. Colours are told apart by the colour-blind too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from petclassify.arrays import Pixels
from petclassify.images.signed_png import SIGNED_AS
from petclassify.report.history import Epoch, StrengthTried

PREVIEW_SOFTWARE = "petclassify data preview"
# A matplotlibrc, of the user's or in the working folder, may ask for LaTeX, which need not be here.
PLAIN_TEXT: Any = {"text.usetex": False}
TRAIN_COLOUR, VAL_COLOUR, BEST_COLOUR = "#7f7f7f", "#0072b2", "#d55e00"


@mpl.rc_context(PLAIN_TEXT)
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
    _end_at_all(accuracy)
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(title.encode("utf-8", "replace").decode(), parse_math=False)
    figure.savefig(path, dpi=120, format="png")


def _draw_pair(
    axes: Axes, strengths: Sequence[float], train: Sequence[float], val: Sequence[float]
) -> None:
    axes.plot(strengths, train, "o-", color=TRAIN_COLOUR, label="photos it was fitted on")
    axes.plot(strengths, val, "o-", color=VAL_COLOUR, label="photos held out")


@mpl.rc_context(PLAIN_TEXT)
def draw_epochs(
    epochs: Sequence[Epoch], start_loss: float, title: str, path: Path, *, ships: bool
) -> None:
    """Draw loss, accuracy and learning rate by epoch, phases and the best epoch marked.

    Args:
        epochs: in order, at least one.
        start_loss: the validation loss before them, infinite if there is none worth drawing.
        title: over the picture.
        path: of the PNG to write.
        ships: whether the best epoch does; else the frozen head that it started from.

    """
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    loss, accuracy, lr = figure.subplots(1, 3)
    numbers = [epoch.number for epoch in epochs]
    loss.plot(numbers, [e.train_loss for e in epochs], "o-", color=TRAIN_COLOUR, label="train")
    loss.plot(numbers, [e.val_loss for e in epochs], "o-", color=VAL_COLOUR, label="validation")
    if math.isfinite(start_loss):
        loss.axhline(start_loss, color=VAL_COLOUR, linestyle=":", label="frozen head, validation")
    loss.set_ylabel("log loss, before calibration")
    losses = [loss for e in epochs for loss in (e.train_loss, e.val_loss)]
    if max(losses) > 10 * min(losses):
        loss.set_yscale("log")
    accuracy.plot(numbers, [100 * e.train_accuracy for e in epochs], "o-", color=TRAIN_COLOUR)
    accuracy.plot(numbers, [100 * e.val_accuracy for e in epochs], "o-", color=VAL_COLOUR)
    accuracy.set_ylabel("accuracy, %")
    lr.plot(numbers, [e.lr for e in epochs], "o-", color=TRAIN_COLOUR)
    lr.set_ylabel("learning rate of the head")
    lr.yaxis.set_major_formatter("{x:.1e}")
    best = min(epochs, key=lambda epoch: epoch.val_loss).number
    best_label = f"best epoch: {best}" if ships else f"best epoch: {best}, not shipped"
    for axes in (loss, accuracy, lr):
        axes.axvline(best, color=BEST_COLOUR, linestyle="--", label=best_label)
        _mark_phases(axes, epochs)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(numbers[0] - 0.5, numbers[-1] + 0.5)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    _end_at_all(accuracy)
    figure.legend(*loss.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(title.encode("utf-8", "replace").decode(), parse_math=False)
    figure.savefig(path, dpi=120, format="png")


def _end_at_all(accuracy: Axes) -> None:
    """End an axis of percent just above 100."""
    bottom, top = accuracy.get_ylim()
    accuracy.set_ylim(bottom, min(top, 100 + 0.04 * (100 - bottom)))


def _mark_phases(axes: Axes, epochs: Sequence[Epoch]) -> None:
    """Shade every second phase and write its name at the top."""
    phases = list(dict.fromkeys(epoch.phase for epoch in epochs))
    for place, phase in enumerate(phases):
        inside = [epoch.number for epoch in epochs if epoch.phase == phase]
        if place % 2:
            axes.axvspan(inside[0] - 0.5, inside[-1] + 0.5, color="#f2f2f2", zorder=0)
        axes.text(
            (inside[0] + inside[-1]) / 2,
            1.01,
            phase.split(": ")[-1],
            transform=axes.get_xaxis_transform(),
            ha="left" if len(phases) > 3 else "center",
            rotation=35 if len(phases) > 3 else 0,
            fontsize=8,
            color="#555555",
        )


@dataclass(frozen=True)
class PreviewRow:
    """One photo as prediction sees it, then as training may."""

    class_name: str
    views: Sequence[Pixels]


@mpl.rc_context(PLAIN_TEXT)
def draw_preview(rows: Sequence[PreviewRow], path: Path) -> None:
    """Draw a grid of photos, one a row.

    Args:
        rows: with as many views each.
        path: of the PNG to write.

    """
    columns = len(rows[0].views)
    figure = Figure(figsize=(1.6 * columns, 1.66 * len(rows) + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for place, row in enumerate(rows):
        for column, pixels in enumerate(row.views):
            axes = grid[place][column]
            axes.imshow(pixels)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        name = row.class_name.encode("utf-8", "replace").decode()
        grid[place][0].set_ylabel(name, parse_math=False)
    grid[0][0].set_title("as predicted", fontsize=10)
    grid[0][1].set_title("changed at random, each time anew", fontsize=10, loc="left")
    figure.savefig(path, dpi=100, format="png", metadata={SIGNED_AS: PREVIEW_SOFTWARE})
