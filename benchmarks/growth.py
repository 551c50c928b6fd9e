"""How cost grows with the photos: `python benchmarks/growth.py`, on ../shared/data/catsdogs.

`train`, and `predict FOLDER --output` without and with a Ray of its own on this machine, on 250,
500, 1,000, 2,000 and 20,000 photos, each from nothing. Time by stage is the run's own
(metrics.json); start-up is the rest of the process. Memory is what is resident in a stage,
looked at every 50 ms; with Ray, the command's own. Up to 2,000 are links to training photos, as
many of each class. More are copies of them with a few bytes after the JPEG's end, so that each
is another file for the feature cache and the search for duplicates; time and memory are those
of as many photos, the accuracy is not. Straight lines are fitted by least squares.

Results go to benchmarks/growth.json at once; the same command goes on where it was stopped.
Writes docs/images/growth.png, and the tables of docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from growth_page import write_page
from measuring import PETCLASSIFY, Kept, Watched, end_with_children, machine, watch

from petclassify.images.walk import walk_images

RAW = Path(__file__).with_suffix(".json")
SHIPPED = Path(__file__).parents[1] / "models" / "catsdogs.onnx"
COUNTS = (250, 500, 1_000, 2_000, 20_000)


def make_photos(data: Path, folder: Path, count: int) -> Path:
    """Class folders of so many photos in all."""
    made = folder / f"photos-{count}"
    classes = sorted(one for one in (data / "train").iterdir() if one.is_dir())
    for place, source in enumerate(classes):
        (made / source.name).mkdir(parents=True)
        photos = list(walk_images(source))
        wanted = count // len(classes) + (place < count % len(classes))
        for number in range(wanted):
            photo = photos[number % len(photos)]
            name = made / source.name / f"{number:06}{photo.suffix}"
            if number < len(photos):
                name.symlink_to(photo)
            else:
                name.write_bytes(photo.read_bytes() + f"copy {number}".encode())
    return made


def measure_train(data: Path, count: int) -> dict[str, Any]:
    """Train from nothing: seconds and peak memory by stage."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = make_photos(data, folder, count)
        out = folder / "run"
        command = [*PETCLASSIFY, "train", photos, "--cache", folder / "cache", "--out", out]
        watched = watch(command, folder)
        written = out / "metrics.json"
        metrics = json.loads(written.read_text())
        seconds = metrics["seconds"]
        return {
            "test": {name: metrics["test"][name] for name in ("count", "accuracy")},
            "seconds": {
                "start-up": watched.seconds - seconds["total"],
                **seconds,
                "total": watched.seconds,
            },
            "memory": memory_by_stage(watched, seconds, written.stat().st_mtime),
            "cache_mib": disk_mib(folder / "cache"),
        }


def memory_by_stage(watched: Watched, seconds: dict[str, float], end: float) -> dict[str, float]:
    """Peak MiB in each stage; the last one ends when metrics.json is written."""
    peaks = {}
    at = end - watched.started - seconds["total"]
    peaks["start-up"] = peak(watched, 0, at)
    for stage, taken in seconds.items():
        if stage != "total":
            peaks[stage] = peak(watched, at, at + taken)
            at += taken
    return {**peaks, "total": peak(watched, 0, watched.seconds)}


def peak(watched: Watched, start: float, end: float) -> float:
    """The most that was resident in between, or the last that was seen before."""
    seen = [mib for at, mib in watched.memory if start <= at < end]
    return max(seen) if seen else [mib for at, mib in watched.memory if at < end][-1]


def measure_predict(data: Path, count: int, *options: str) -> dict[str, Any]:
    """Score a folder into a CSV file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = make_photos(data, folder, count)
        command = [*PETCLASSIFY, "predict", photos, "--model", SHIPPED]
        watched = watch([*command, "--output", folder / "found.csv", *options], folder)
        size = sum(path.stat().st_size for path in walk_images(photos))
        return {
            "seconds": {"total": watched.seconds},
            "memory": {"total": peak(watched, 0, watched.seconds)},
            "photo_bytes": size / count,
        }


def measure_ray(data: Path, count: int) -> dict[str, Any]:
    """The same by a Ray of its own on this machine, one actor a core."""
    return measure_predict(data, count, "--engine", "ray")


def disk_mib(folder: Path) -> float:
    """Size of the files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


PARTS = {"predict": measure_predict, "ray": measure_ray, "train": measure_train}


def main() -> None:
    """Measure what is not measured yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    parser.add_argument("--only", choices=list(PARTS), action="append")
    parser.add_argument("--up-to", type=int, default=COUNTS[-1], help="Photos.")
    given = parser.parse_args()
    end_with_children()
    data = given.data.resolve()
    free = shutil.disk_usage(tempfile.gettempdir()).free
    about = {
        "photos": len(list(walk_images(data / "train"))),
        "versions": {name: version(name) for name in ("petclassify", "torch", "onnxruntime")},
        "machine": machine(),
        "cores": os.cpu_count(),
    }
    kept = Kept(RAW, about)
    for count in COUNTS:
        for part in given.only or PARTS:
            if count <= given.up_to and free > count * 100_000:
                kept.measure([part, count], partial(PARTS[part], data, count))
    print(write_page(kept.content))


if __name__ == "__main__":
    main()
