"""Names at the ends of curves, in place of a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LINE, LETTER = 14.0, 6.5  # points: a line of text, and a letter of it


@dataclass(frozen=True)
class End:
    """Where a curve ends, and what it is called there."""

    x: float
    y: float
    name: str
    colour: str
    weight: str = "normal"


def label_ends(axes: Any, ends: Sequence[End]) -> None:  # noqa: ANN401
    """Write each name to the right of its end, pushed down where it would cover another.

    Call it when the scales and limits of the axes are final.
    """
    from matplotlib.patheffects import withStroke

    points_a_pixel = 72 / axes.figure.dpi
    placed: list[tuple[float, float, float]] = []  # left, right, height
    for end in sorted(ends, key=lambda end: -end.y):
        left, at = axes.transData.transform((end.x, end.y)) * points_a_pixel
        right = left + LETTER * len(end.name)
        height = at
        for other_left, other_right, other in placed:
            if left < other_right and other_left < right and abs(height - other) < LINE:
                height = other - LINE
        placed.append((left, right, height))
        axes.annotate(
            end.name,
            (end.x, end.y),
            xytext=(8, height - at),
            textcoords="offset points",
            va="center",
            color=end.colour,
            fontweight=end.weight,
            path_effects=[withStroke(linewidth=4, foreground="white")],  # over lines and grids
        )
