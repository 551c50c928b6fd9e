"""What one file may cost, measured: `python benchmarks/hostile_images.py [--megapixels 49]`.

The largest file of every format and mode is made in a folder of its own and given to
`petclassify predict`, each in a fresh process; so is the costliest that an attacker could
make of a few bytes, and every file of the tests' corpus. Prints the rows of a Markdown table,
the hungriest first: the outcome, the seconds of the whole process, by the clock and of all
processors, and its peak.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

REPOSITORY = Path(__file__).parents[1]
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"
MAX_MEBIBYTES, MAX_SECONDS = 512, 5.0
SHOWN = 12  # of the corpus, of which most cost nothing

sys.path.insert(0, str(REPOSITORY))  # the corpus lies with the tests

from petclassify.images.rationed import MAX_WHOLE_BYTES  # noqa: E402


@dataclass(frozen=True)
class Cost:
    """One file through one process."""

    name: str
    size_bytes: int
    outcome: str
    seconds: float
    processor_seconds: float
    mebibytes: float


def main() -> None:
    """Make the files, measure each, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=49.0)
    side = int((parser.parse_args().megapixels * 1e6) ** 0.5)
    with tempfile.TemporaryDirectory() as folder:
        # Made by a process of its own: a child's peak counts what its parent held at the fork.
        with multiprocessing.get_context("spawn").Pool(1) as maker:
            large = maker.apply(largest, (Path(folder), side))
            small = maker.apply(corpus, (Path(folder),))
        costs = [measure(path) for path in large]
        costs += sorted(map(measure, small), key=lambda cost: -cost.mebibytes)[:SHOWN]
    costs.sort(key=lambda cost: -cost.mebibytes)
    print("| file | MiB | outcome | s | processor s | peak, MiB |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for cost in costs:
        print(
            f"| {cost.name} | {cost.size_bytes / 2**20:.1f} | {cost.outcome} "
            f"| {cost.seconds:.1f} | {cost.processor_seconds:.1f} | {cost.mebibytes:.0f} |"
        )
    over = [c.name for c in costs if c.mebibytes > MAX_MEBIBYTES or c.seconds > MAX_SECONDS]
    print(f"\nover {MAX_SECONDS:.0f} s or {MAX_MEBIBYTES} MiB: {', '.join(over) or 'none'}")


def corpus(folder: Path) -> list[Path]:
    """Write the tests' corpus."""
    from tests.images.hostile import HOSTILE

    (folder / "corpus").mkdir()
    paths = []
    for name, case in HOSTILE.items():
        paths.append(folder / "corpus" / name)
        paths[-1].write_bytes(case.content)
    return paths


def largest(folder: Path, side: int) -> list[Path]:
    """Write photos of so many pixels a side, in every format, mode and manner that costs."""
    from tests.images.hostile import many_scans, run_length_bmp

    colour = noisy(side)
    clear = colour.copy()
    clear.putalpha(colour.getchannel(0))
    grey = np.asarray(colour.getchannel(1))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    scans = int(2_000_000_000 / side**2)
    fifth = colour.resize((4400, 4500))  # within the limit of WebP and AVIF
    fifth_clear = clear.resize((4400, 4500))
    quick, deflate = {"compress_level": 1, "exif": exif}, "tiff_adobe_deflate"
    makers: dict[str, Callable[[Path], object]] = {
        "baseline.jpg": lambda p: colour.save(p, exif=exif),
        "progressive.jpg": lambda p: colour.save(p, progressive=True, subsampling=0),
        "progressive CMYK.jpg": lambda p: colour.convert("CMYK").save(
            p, progressive=True, subsampling=0
        ),
        f"{scans} scans.jpg": lambda p: p.write_bytes(many_scans(side, scans)),
        "1,000 scans.jpg": lambda p: p.write_bytes(many_scans(side, 1000)),
        "RGB.png": lambda p: colour.save(p, **quick),
        "RGBA.png": lambda p: clear.save(p, **quick),
        "grey and alpha.png": lambda p: clear.convert("LA").save(p, **quick),
        "16-bit grey.png": lambda p: Image.fromarray(grey.astype(np.uint16) * 257).save(p, **quick),
        "palette, transparent.png": lambda p: colour.quantize(64).save(p, transparency=3, **quick),
        "palette.gif": lambda p: colour.quantize(64).save(p),
        "RGB.bmp": colour.save,
        "run-length, 10 megapixels.bmp": lambda p: p.write_bytes(
            run_length_bmp(3160, 3160, b"\1\1\0\0" * 3160)
        ),
        "RGBA.tga": clear.save,
        "RGB.ppm": colour.save,
        "depth 254, 1 megapixel.ppm": lambda p: p.write_bytes(
            b"P6 1000 1000 254\n" + b"\x40" * 3_000_000
        ),
        "RGBA, LZW.tif": lambda p: clear.save(p, compression="tiff_lzw", exif=exif),
        "RGB, one strip.tif": lambda p: colour.save(p, compression=deflate, tiffinfo={278: side}),
        "RGBA, one strip.tif": lambda p: clear.save(p, compression=deflate, tiffinfo={278: side}),
        "YCbCr, JPEG.tif": lambda p: colour.save(p, compression="jpeg"),
        "LAB, LZW.tif": lambda p: colour.convert("LAB").save(p, compression="tiff_lzw"),
        "32-bit integer.tif": lambda p: Image.fromarray(grey.astype(np.int32)).save(p, exif=exif),
        "float.tif": lambda p: Image.fromarray(grey.astype(np.float32)).save(p, exif=exif),
        "RGB.webp": lambda p: colour.save(p, method=0),
        "RGB, 19.8 megapixels.webp": lambda p: fifth.save(p, method=0, exif=exif),
        "RGBA, 19.8 megapixels.webp": lambda p: fifth_clear.save(p, method=0, exif=exif),
        "lossless, 19.8 megapixels.webp": lambda p: fifth_clear.save(
            p, method=0, quality=0, lossless=True, exif=exif
        ),
        "lossless, with bytes after it, 19.8 megapixels.webp": lambda p: (
            fifth_clear.save(p, method=0, quality=0, lossless=True),
            os.truncate(p, MAX_WHOLE_BYTES),
        ),
        "moving, 19.8 megapixels.webp": lambda p: fifth.save(
            p, method=0, save_all=True, append_images=[fifth_clear]
        ),
        "RGB.avif": lambda p: colour.save(p, speed=10),
        "RGB, 19.8 megapixels.avif": lambda p: fifth.save(p, speed=10, exif=exif),
        "RGBA, 4:4:4, 19.8 megapixels.avif": lambda p: fifth_clear.save(
            p, speed=10, subsampling="4:4:4", exif=exif
        ),
    }
    paths = []
    for name, make in makers.items():
        make(folder / name)
        paths.append(folder / name)
    return paths


def noisy(side: int) -> Image.Image:
    """A slope with noise over it, which compresses as photos do."""
    noise = np.random.default_rng(0).integers(0, 12, (side, side), dtype=np.uint8)
    slope = np.linspace(0, 240, side, dtype=np.uint8) + noise
    planes = (slope, np.ascontiguousarray(slope.T), slope[::-1].copy())
    return Image.merge("RGB", [Image.fromarray(plane) for plane in planes])


def measure(path: Path) -> Cost:
    """Predict one file in a fresh process."""
    command = [sys.executable, "-m", "petclassify", "predict", str(path), "--format", "csv"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--model", str(SHIPPED)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # how many failed
        cwd=REPOSITORY,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as stream:
        rows = list(csv.DictReader(io.StringIO(stream.read())))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    outcome = (rows[0]["error_kind"] or "read") if rows else f"exit {process.returncode}"
    processor = usage.ru_utime + usage.ru_stime
    peak = usage.ru_maxrss / 1024
    return Cost(path.name, path.stat().st_size, outcome, seconds, processor, peak)


if __name__ == "__main__":
    main()
