"""What the data check finds, measured: `python benchmarks/label_check.py --data catsdogs`.

Swaps the labels of a share of the training photos at random, in a folder of links, and checks
that, with several seeds. For each: how many of the swapped ones stand among the first photos
of the check's list, as many as 3 % of the training photos; how many are called probably wrong;
and which others are.

Features are cached by content, so that only the first run computes them. Prints the rows of a
Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from petclassify.config import TrainConfig
from petclassify.images.index import Index, read_index
from petclassify.learn.checking.check import check
from petclassify.report.check_result import LabelCheck

TOP_SHARE = 0.03


def link_swapped(index: Index, chosen: set[Path], folder: Path) -> set[str]:
    """Link all photos, the chosen ones into the next class; return their new names."""
    swapped = set()
    for split, samples in index.splits.items():
        for sample in samples:
            label = (sample.label + (sample.path in chosen)) % len(index.class_names)
            class_name = index.class_names[label]
            name = f"{split}/{class_name}/{index.class_names[sample.label]}-{sample.path.name}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).symlink_to(sample.path.resolve())
            if sample.path in chosen:
                swapped.add(name)
    return swapped


def judge(data: Path, cache: Path | None) -> LabelCheck:
    """Check a folder's labels."""
    labels = check(TrainConfig(data, cache=cache), read_index(data)).labels
    assert labels is not None
    return labels


def main() -> None:
    """Measure all seeds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    index = read_index(given.data)
    train = [sample.path for sample in index.splits["train"]]
    top = round(TOP_SHARE * len(train))
    print(f"| labels swapped | among the first {top} | called wrong | others called wrong | s |")
    print("| --- | --- | --- | --- | --- |")
    for seed in range(given.seeds):
        picked = np.random.default_rng(seed).permutation(len(train))
        chosen = {train[place] for place in picked[: round(given.share * len(train))]}
        with tempfile.TemporaryDirectory() as folder:
            swapped = link_swapped(index, chosen, Path(folder))
            start = time.perf_counter()
            found = judge(Path(folder), given.cache).findings
            seconds = time.perf_counter() - start
        first = {one.name for one in found[:top]}
        sure = {one.name for one in found if one.sure}
        print(
            f"| {len(swapped)}, seed {seed} | {len(swapped & first)} | {len(swapped & sure)} | "
            f"{', '.join(sorted(sure - swapped)) or 'none'} | {seconds:.1f} |"
        )


if __name__ == "__main__":
    main()
