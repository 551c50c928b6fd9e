"""The picture of what `peers.py` found: curves of training, and what a prediction costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labels import End, label_ends
from peers_page import GOAL, Results, Row
from systems import OURS, PEERS, PREDICTING, TRAINED, TUNED

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = dict(
    zip(
        [OURS, TUNED, *PEERS],
        ("#d55e00", "#e69f00", "#0072b2", "#009e73", "#56b4e9", "#cc79a7", "#000000"),
        strict=True,
    )
)


def draw(results: Results, rows: Sequence[Row], path: Path) -> None:
    """Accuracy over time above, what a prediction costs below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7.4), layout="constrained")
    axes = figure.subplot_mosaic([["curve"] * 3, ["wall", "memory", "disk"]], height_ratios=[2, 1])
    draw_curves(axes["curve"], results)
    by_name = {row.what: row for row in rows}
    bars = {
        "wall": ("one photo, cold", "one photo, cold: seconds"),
        "memory": ("one photo, cold, peak memory", "peak memory: MiB"),
        "disk": ("deployed: install and model on disk", "deployed: MiB on disk"),
    }
    for place, (what, title) in bars.items():
        draw_bars(axes[place], by_name[what].values if what in by_name else {}, title)
        if place != "wall":
            axes[place].set_yticklabels([])
    figure.savefig(path, dpi=120)


def draw_curves(axes: Any, results: Results) -> None:  # noqa: ANN401
    """The round of each system that ended in the middle of its rounds."""
    from matplotlib.ticker import LogLocator

    ends: list[End] = []
    for system in TRAINED:
        runs = sorted(results.of("train", system), key=lambda one: one["exported_s"])
        if not runs:
            continue
        points = runs[len(runs) // 2]["points"]
        times = [point["seconds"] for point in points]
        accuracies = [100 * point["accuracy"] for point in points]
        axes.plot(times, accuracies, "o-", color=COLOURS[system], linewidth=2, markersize=6)
        weight = "bold" if system == OURS else "normal"
        ends.append(End(times[-1], accuracies[-1], system, COLOURS[system], weight))
    axes.axhline(100 * GOAL, color="#7f7f7f", linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.margins(x=0.08, y=0.1)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right * 3)  # room for the names
    axes.set_ylim(top=min(100.5, axes.get_ylim()[1]))
    axes.minorticks_off()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g} s")
    axes.set(xlabel="since the start of the command", ylabel="test accuracy, %")
    axes.set_title("From a folder of photos to a trained model")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.draw_without_rendering()
    label_ends(axes, ends)


def draw_bars(axes: Any, found: Mapping[str, float | None], title: str) -> None:  # noqa: ANN401
    """One bar a system, its value beside it."""
    systems = PREDICTING[::-1]
    values = [found.get(one) for one in systems]
    lengths = [value or 0 for value in values]
    drawn = axes.barh(
        [one.split(",")[0] for one in systems],
        lengths,
        color=[COLOURS[one] for one in systems],
    )
    form = "{:.2f}" if max(lengths) < 100 else "{:,.0f}"
    labels = ["not measured" if value is None else form.format(value) for value in values]
    axes.bar_label(drawn, labels=labels, padding=3)
    axes.set_title(title, fontsize=11)
    axes.margins(x=0.3)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
