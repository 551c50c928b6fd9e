"""Scoring many photos, measured: `python benchmarks/scoring.py [--count 20000]`.

A folder of links to real photos, each photo many times, is scored into a CSV: first 1,000 of
them, then all, each in a fresh process. Memory should not grow with the number, nor the cost
of a photo in the course of the run. Then the command is killed half way and given again, which
should take what is left and a start. Prints the rows of a Markdown table.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from petclassify import Classifier
from petclassify.images.walk import walk_images
from petclassify.runtime.photos import find_photos
from petclassify.runtime.results import write_results
from petclassify.runtime.scoring import THREADS_IN_NETWORK, Scored, Source, score_photos

SHIPPED = Path(__file__).parents[1] / "models" / "catsdogs.onnx"
FEW = 1_000
PARTS = 3


@dataclass(frozen=True)
class Run:
    """One run: its time, its peak memory, and the cost of a photo in each part of it."""

    seconds: float
    peak_mib: float
    part_ms: tuple[float, ...]


def link_photos(folder: Path, photos: list[Path], count: int) -> Path:
    """Make a folder of so many links, to the photos in turn."""
    folder.mkdir()
    for number, photo in zip(range(count), itertools.cycle(photos), strict=False):
        (folder / f"{number:06}{photo.suffix}").symlink_to(photo)
    return folder


def score_folder(folder: Path, output: Path, count: int) -> Run:
    """What `predict FOLDER --output FILE` does, with a clock at a third and two thirds."""
    start = time.perf_counter()
    marks = [start]
    classifier = Classifier.load(SHIPPED, THREADS_IN_NETWORK)

    def score(photos: Iterable[tuple[str, Source]]) -> Iterator[Scored]:
        for number, scored in enumerate(score_photos(classifier, photos), start=1):
            if number % (count // PARTS) == 0 and len(marks) <= PARTS:
                marks.append(time.perf_counter())
            yield scored

    digest = hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    photos = find_photos([str(folder)])
    tally = write_results(score, photos, digest, classifier.class_names, "csv", output)
    assert tally.predicted == count
    status = Path("/proc/self/status").read_text()
    (peak_kib,) = re.findall(r"VmHWM:\s*(\d+) kB", status)
    parts = tuple(1000 * (b - a) / (count // PARTS) for a, b in itertools.pairwise(marks))
    return Run(time.perf_counter() - start, int(peak_kib) / 1024, parts)


def in_fresh_process(folder: Path, output: Path, count: int) -> Run:
    """Run `score_folder` where nothing else has left its memory."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(score_folder, folder, output, count).result()


def kill_and_go_on(folder: Path, output: Path, seconds: float) -> tuple[str, float]:
    """Kill the command after so many seconds, give it again; what it says, and its time."""
    command = [sys.executable, "-m", "petclassify", "predict", folder, "--output", output]
    first = subprocess.Popen([*command, "--model", SHIPPED])
    time.sleep(seconds)
    first.kill()
    first.wait()
    start = time.perf_counter()
    again = subprocess.run(
        [*command, "--model", SHIPPED], stderr=subprocess.PIPE, text=True, check=True
    )
    return again.stderr.splitlines()[-1], time.perf_counter() - start


def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    parser.add_argument("--count", type=int, default=20_000)
    given = parser.parse_args()
    photos = list(walk_images(given.data.resolve()))
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        few = link_photos(root / "few", photos, FEW)
        many = link_photos(root / "many", photos, given.count)
        small = in_fresh_process(few, root / "few.csv", FEW)
        large = in_fresh_process(many, root / "many.csv", given.count)
        unbroken = (root / "many.csv").read_bytes()
        said, seconds = kill_and_go_on(many, root / "many.csv", large.seconds / 2)
        same = (root / "many.csv").read_bytes() == unbroken
    parts = ", ".join(f"{ms:.2f}" for ms in large.part_ms)
    memory = f"{small.peak_mib:.0f} MiB, {large.peak_mib:.0f} MiB"
    again = f"{seconds:.0f} s, unbroken {large.seconds:.0f} s; {said}"
    print(f"| {given.count} photos | {given.count / large.seconds:.0f} photos/s |")
    print(f"| peak memory at {FEW}, at {given.count} | {memory} |")
    print(f"| a photo, by thirds of the run | {parts} ms |")
    print(f"| killed half way, then again | {again} |")
    print(f"| the same bytes | {'yes' if same else 'NO'} |")


if __name__ == "__main__":
    main()
