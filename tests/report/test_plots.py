"""The pictures are drawn wherever they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from petclassify.report.comparison import Compared, Comparison, draw_comparison
from petclassify.report.figures import draw_coverage, draw_reliability
from petclassify.report.history import Epoch, StrengthTried
from petclassify.report.metrics import ReliabilityBin
from petclassify.report.plots import PreviewRow, draw_epochs, draw_head_search, draw_preview

TRIED = [StrengthTried(strength, 0.2, 0.9, 0.3, 0.8) for strength in (1.0, 0.1)]
EPOCHS = [Epoch("all", number, 1e-3, 0.2, 0.9, 0.3, 0.8) for number in (1, 2)]
VIEWS = [np.zeros((8, 8, 3), np.uint8)] * 2
ROW = Compared(
    *("zoo/lenet5", "none", 32, 1, 1.0, 50, 0.9, 0.3, 0.9, 0.3, 1.0, 1000, 1000, 1000, (0.9,))
)
PICTURES: dict[str, Callable[[Path], object]] = {
    "head": lambda path: draw_head_search(TRIED, 1.0, "a_b", path),
    "epochs": lambda path: draw_epochs(EPOCHS, 0.5, "a_b", path, ships=True),
    "preview": lambda path: draw_preview([PreviewRow("a_b", VIEWS)], path),
    "comparison": lambda path: draw_comparison(Comparison("a_b", (ROW,), {}), path),
}


@pytest.mark.attack("Surroundings")
@pytest.mark.parametrize("name", PICTURES)
def test_a_matplotlibrc_that_asks_for_latex_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", "")
    with mpl.rc_context({"text.usetex": True}):
        PICTURES[name](tmp_path / "picture.png")
        assert mpl.rcParams["text.usetex"]
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.attack("Surroundings")
def test_a_matplotlibrc_that_asks_for_latex_needs_none_for_figures_of_a_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    bins = [ReliabilityBin(5, 0.9, 0.8)]
    with mpl.rc_context({"text.usetex": True}):
        assert "<svg" in draw_reliability(bins, bins)
        assert "<svg" in draw_coverage(np.array([1.0, 0.9]), 0.9, 0.9)
