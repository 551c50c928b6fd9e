"""What the zoo promises, measured: `python benchmarks/zoo.py [parts]`.

fashion  test accuracy on Fashion-MNIST of every network, each at a window and for as many
         epochs as two cores take in some minutes; benchmarks/zoo_fashion.png has the curves.
drawn    LeNet-5 on drawn pets, within a minute.
scratch  the zoo from scratch against the default pretrained backbone, on 2,000 photos of
         cats and dogs, the same minutes for each; benchmarks/zoo_catsdogs.png.

`--runs DIR` keeps the run folders; what is finished there is not trained again.

Prints the rows of a Markdown table, and writes benchmarks/zoo.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import machine

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PETCLASSIFY = [sys.executable, "-m", "petclassify"]
FASHION = Path("../shared/data/fashion-mnist").resolve()
HERE = Path(__file__).parent
MINUTES = 1.5
Row = tuple[str, str, str]
# Okabe and Ito 2008, told apart by the colour-blind too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a5195", "#56b4e9", "#000000", "#8c8c00")

# Window in pixels, epochs, and the test accuracy to reach.
FASHION_RUNS: tuple[tuple[str, int, int, float], ...] = (
    ("lenet5", 32, 10, 0.88),
    ("alexnet", 67, 3, 0.88),
    ("vgg11", 32, 2, 0.88),
    ("nin", 96, 2, 0.8574),
    ("nin", 96, 4, 0.90),
    ("googlenet", 56, 2, 0.88),
    ("resnet18", 56, 6, 0.92),
    ("densenet121", 48, 2, 0.88),
)
OPTIONS = ("--augment", "none", "--hflip", 0.5, "--batch-size", 128, "--patience", 0)


def petclassify(*arguments: object) -> float:
    """Run a command, showing its log; returns its seconds."""
    start = time.perf_counter()
    subprocess.run([*PETCLASSIFY, *map(str, arguments)], check=True)
    return time.perf_counter() - start


def metrics_of(run: Path) -> dict[str, Any]:
    """A run's metrics.json."""
    found: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return found


def curve(run: Path) -> list[float]:
    """Validation accuracy by epoch."""
    with (run / "history.csv").open(newline="") as stream:
        return [float(row["val_accuracy"]) for row in csv.DictReader(stream) if row["epoch"]]


def bench_fashion(_data: Path, runs: Path) -> list[Row]:
    """Every network on the real Fashion-MNIST."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    rows: list[Row] = []
    ends: list[tuple[int, float, str, str]] = []
    for name, size, epochs, least in FASHION_RUNS:
        run = runs / f"{name}-{epochs}"
        if not (run / "metrics.json").exists():
            window = ("--image-size", size, "--epochs", epochs, *OPTIONS)
            source = (FASHION, "--data-root", runs / "data", "--backbone", f"zoo/{name}")
            petclassify("train", *source, *window, "--out", run, "--resume")
        accuracy = [100 * share for share in curve(run)]
        test = metrics_of(run)["test"]["accuracy"]
        epochs_done = range(1, len(accuracy) + 1)
        axes.plot(epochs_done, accuracy, "o-", markersize=4, color=COLOURS[len(rows)])
        label = f"{name}, {size} px: {100 * test:.1f} % on test"
        ends.append((len(accuracy), accuracy[-1], label, COLOURS[len(rows)]))
        what = f"`zoo/{name}`, Fashion-MNIST at {size} px, {epochs} epochs, test accuracy"
        rows.append((what, f"{test:.2%}", f">= {100 * least:g} %"))
    label_ends(axes, ends)
    axes.set(xlabel="epoch", ylabel="validation accuracy, %", xticks=range(1, 11), xlim=(0.8, 14.5))
    axes.set_title("The zoo on Fashion-MNIST, from random weights", loc="left")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "zoo_fashion.png", dpi=120)
    return rows


def label_ends(axes: Axes, ends: list[tuple[int, float, str, str]]) -> None:
    """Name each curve to the right of its end, above one another where ends lie close."""
    lowest = 0.0
    for epoch, accuracy, label, colour in sorted(ends, key=lambda end: end[1]):
        lowest = max(accuracy, lowest + 0.45)
        at = (max(epoch + 0.3, 4.6), lowest)
        axes.annotate(label, (epoch, accuracy), at, color=colour, va="center", fontsize=9)


def bench_drawn(_data: Path, runs: Path) -> list[Row]:
    """Draw, train, judge; the whole command is timed."""
    pets = runs / "pets"
    if not pets.exists():
        petclassify("data", "draw", pets, "--count", 5000)
    shutil.rmtree(runs / "drawn", ignore_errors=True)
    options = ("--backbone", "zoo/lenet5", "--image-size", 72, "--epochs", 10, "--lr", 2e-3)
    changes = ("--augment", "none", "--hflip", 0.5, "--batch-size", 64)
    seconds = petclassify("train", pets, *options, *changes, "--out", runs / "drawn")
    test = metrics_of(runs / "drawn")["test"]
    found = f"{test['accuracy']:.1%}, {seconds:.0f} s"
    what = f"`zoo/lenet5`, 5,000 drawn pets, test accuracy ({test['count']} pictures), seconds"
    return [(what, found, ">= 95%, <= 60 s")]


def bench_scratch(data: Path, runs: Path) -> list[Row]:
    """`petclassify compare` on the photos."""
    out = runs / "catsdogs"
    options = ("--minutes", MINUTES, "--image-size", 80, "--out", out)
    petclassify("compare", data, *options)
    shutil.copy(out / "comparison.png", HERE / "zoo_catsdogs.png")
    with (out / "comparison.csv").open(newline="") as stream:
        return [
            (
                f"`{row['network']}` on {data.name}, test accuracy, seconds",
                f"{float(row['test_accuracy']):.1%}, {float(row['seconds']):.0f} s",
                "",
            )
            for row in csv.DictReader(stream)
        ]


PARTS: dict[str, Callable[[Path, Path], list[Row]]] = {
    "drawn": bench_drawn,
    "scratch": bench_scratch,
    "fashion": bench_fashion,
}


def main() -> None:
    """Measure the asked parts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=list(PARTS))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    parser.add_argument("--runs", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = given.runs or Path(temporary)
        runs.mkdir(parents=True, exist_ok=True)
        rows = [row for part in given.parts for row in PARTS[part](given.data, runs)]
    print("| what | measured | wanted |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    kept = HERE / "zoo.json"
    known = json.loads(kept.read_text())["rows"] if kept.exists() else []
    found = {row[0]: row for row in [*known, *rows]}
    about = {"machine": machine(), "rows": list(found.values())}
    kept.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
