"""What the spine promises, measured: `make bench`, on ../shared/data/catsdogs.

Every time is a whole process, start-up included. Ratios are between things measured in the
same run, in turn, since machines are noisy; the limit of training is that of `limit.py`.
Prints the rows of a Markdown table, and writes benchmarks/spine.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from limit import BATCH_SIZE, Limit, measure_limit
from measuring import PETCLASSIFY, machine, run

from petclassify.images.photo import read_pixels
from petclassify.images.walk import walk_images
from petclassify.runtime.model_file import INPUT, load_model

SHIPPED = Path(__file__).parents[1] / "models" / "catsdogs.onnx"


@dataclass(frozen=True)
class Result:
    """One line of the table."""

    what: str
    found: str
    wanted: str


def printed_limit(data: Path) -> float:
    """Seconds of a training that only decodes and runs the network; the rates are printed."""
    limit: Limit = measure_limit(data)
    print(f"limit: {limit.decoded:.0f} decoded/s, {limit.engine} {limit.views:.0f} views/s")
    return limit.train_s


def bench_train(data: Path, folder: Path, times: int) -> list[Result]:
    """Cold runs between measurements of the limit, then a run on cached features."""
    limits, seconds, peaks, again = [printed_limit(data)], [], [], []
    for number in range(times):
        cache = folder / f"cache-{number}"
        command = [*PETCLASSIFY, "train", data, "--cache", cache, "--out"]
        cold = run([*command, folder / f"run-{number}"], folder)
        again.append(run([*command, folder / f"again-{number}", "--seed", "1"], folder).seconds)
        limits.append(printed_limit(data))
        seconds.append(cold.seconds)
        peaks.append(cold.peak_mib)
    ratios = [s / statistics.mean(limits[i : i + 2]) for i, s in enumerate(seconds)]
    test = json.loads((folder / "run-0" / "metrics.json").read_text())["test"]
    return [
        Result("`train`, test accuracy", f"{test['accuracy']:.4f}", ">= 0.99"),
        Result("`train`, test log loss", f"{test['log_loss']:.4f}", "<= 0.045"),
        Result("`train`, wall", f"{statistics.median(seconds):.1f} s", "<= 60 s"),
        Result("`train`, wall / limit", f"{statistics.median(ratios):.2f}", "<= 1.6"),
        Result("`train`, peak memory", f"{statistics.median(peaks):.0f} MiB", ""),
        Result("`train --seed 1`, cached", f"{statistics.median(again):.1f} s", "<= 12 s"),
    ]


def bench_lite2(data: Path, folder: Path) -> list[Result]:
    """The larger backbone at 320 px."""
    options = ["--backbone", "tf_efficientnet_lite2", "--image-size", "320"]
    out = folder / "lite2"
    cache = folder / "cache-lite2"
    cold = run([*PETCLASSIFY, "train", data, *options, "--cache", cache, "--out", out], folder)
    test = json.loads((out / "metrics.json").read_text())["test"]
    return [
        Result("lite2 at 320 px, test log loss", f"{test['log_loss']:.4f}", "< lite0's"),
        Result("lite2 at 320 px, test accuracy", f"{test['accuracy']:.4f}", ""),
        Result("lite2 at 320 px, wall", f"{cold.seconds:.1f} s", ""),
    ]


def bench_few(data: Path, folder: Path, draws: int) -> list[Result]:
    """Ten photos a class, drawn several times, judged on the test photos."""
    accuracies = []
    for draw in range(draws):
        few = folder / f"few-{draw}"
        for name in ("cats", "dogs"):
            photos = list(walk_images(data / "train" / name))
            (few / "train" / name).mkdir(parents=True)
            for number in np.random.default_rng(draw).choice(len(photos), 10, replace=False):
                (few / "train" / name / photos[number].name).symlink_to(photos[number])
        (few / "test").symlink_to(data / "test", target_is_directory=True)
        out = folder / f"few-run-{draw}"
        run([*PETCLASSIFY, "train", few, "--cache", folder / "cache-few", "--out", out], folder)
        accuracies.append(json.loads((out / "metrics.json").read_text())["test"]["accuracy"])
    mean, worst = statistics.mean(accuracies), min(accuracies)
    found = f"{mean:.3f} (worst of {draws}: {worst:.3f})"
    return [Result("10 photos a class, test accuracy", found, ">= 0.96")]


def bench_predict(data: Path, folder: Path, times: int) -> list[Result]:
    """One photo beside the mere import of torch and timm, in turn."""
    photo = next(walk_images(data / "test"))
    ours = [*PETCLASSIFY, "predict", photo, "--model", SHIPPED]
    theirs = [sys.executable, "-c", "import torch, timm"]
    for command in (ours, theirs):
        run(command, folder)
    pairs = [(run(ours, folder), run(theirs, folder)) for _ in range(times)]
    seconds = statistics.median(one.seconds for one, _ in pairs)
    memory = statistics.median(one.peak_mib for one, _ in pairs)
    ratio = statistics.median(torch.seconds / one.seconds for one, torch in pairs)
    return [
        Result("`predict one.jpg`, wall", f"{seconds:.2f} s", "<= 0.40 s"),
        Result("`predict one.jpg`, peak memory", f"{memory:.0f} MiB", "<= 160 MiB"),
        Result("`import torch, timm` / `predict one.jpg`", f"{ratio:.1f}", ">= 7"),
    ]


def bench_folder(data: Path, folder: Path, times: int) -> list[Result]:
    """500 photos by the whole command, against the same network on pixels that lie ready."""
    session, info = load_model(SHIPPED)
    photos = list(walk_images(data / "test"))
    pixels = np.stack([read_pixels(photo, info.preprocessing) for photo in photos])
    whole = [*PETCLASSIFY, "predict", data / "test", "--model", SHIPPED]
    start_up = [*PETCLASSIFY, "predict", photos[0], "--model", SHIPPED]
    run(whole, folder)
    whole_shares, steady_shares, rates = [], [], []
    for _ in range(times):
        own = max(_own_rate(session, pixels, size) for size in (1, 4, BATCH_SIZE))
        one_s, all_s = run(start_up, folder).seconds, run(whole, folder).seconds
        rates.append(len(photos) / all_s)
        whole_shares.append(rates[-1] / own)
        steady_shares.append((len(photos) - 1) / (all_s - one_s) / own)
    rate = f"{statistics.median(rates):.0f} photos/s"
    steady, whole_share = statistics.median(steady_shares), statistics.median(whole_shares)
    return [
        Result(f"`predict FOLDER` of {len(photos)}, start-up included", rate, ""),
        Result("share of the network's own rate, past start-up", f"{steady:.2f}", ">= 0.8"),
        Result("the same, start-up included", f"{whole_share:.2f}", ""),
    ]


def _own_rate(session: onnxruntime.InferenceSession, pixels: np.ndarray, batch_size: int) -> float:
    start = time.perf_counter()
    for first in range(0, len(pixels), batch_size):
        session.run(None, {INPUT: pixels[first : first + batch_size]})
    return len(pixels) / (time.perf_counter() - start)


def main() -> None:
    """Run the parts asked for, all of them by default."""
    parts: dict[str, Callable[[Path, Path], list[Result]]] = {
        "train": lambda data, folder: bench_train(data, folder, times=3),
        "few": lambda data, folder: bench_few(data, folder, draws=8),
        "lite2": bench_lite2,
        "predict": lambda data, folder: bench_predict(data, folder, times=11),
        "folder": lambda data, folder: bench_folder(data, folder, times=5),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *parts], help="default: all")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    arguments = parser.parse_args()
    data = arguments.data.resolve()
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.parts or parts:
            for result in parts[name](data, Path(folder)):
                print(f"| {result.what} | {result.found} | {result.wanted} |", flush=True)
                results.append(result)
    written = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "results": [vars(result) for result in results],
    }
    if not arguments.parts:
        Path(__file__).with_suffix(".json").write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
