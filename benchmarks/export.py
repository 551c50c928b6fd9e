"""The forms of a model file, measured: `python benchmarks/export.py`, on ../shared/data/catsdogs.

A training, then each form of its model file: size, rate, and what it says of the test photos.
Rates are of the network alone on batches of 8, the forms in turn in the same process, the
median of several rounds. The standalone file is held against `predict`: on 200 test photos as
they are, and on some that are enlarged to 12 megapixels, of which `predict` decodes a half.

Prints the rows of Markdown tables.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

from petclassify import Classifier
from petclassify.config import ModelForm, TrainConfig
from petclassify.images.photo import read_image
from petclassify.learn.export.export_run import export_run
from petclassify.learn.preflight import check_request
from petclassify.learn.train import train
from petclassify.report.evaluate import evaluate
from petclassify.runtime.model_file import FAMILIARITY, PROBABILITIES, STANDALONE_INPUT

BATCH_SIZE, BATCHES, ROUNDS = 8, 8, 7
PHOTOS, LARGE_PHOTOS = 200, 20
LARGE = (4000, 3000)
FORMS = [ModelForm(), ModelForm("fp16"), ModelForm("int8")]


def rates(files: list[Path], pixels: np.ndarray, threads: int) -> list[float]:
    """Photos per second of each file."""
    classifiers = [Classifier.load(file, threads) for file in files]
    seconds: list[list[float]] = [[] for _ in files]
    for number in range(ROUNDS + 1):
        for classifier, taken in zip(classifiers, seconds, strict=True):
            start = time.perf_counter()
            for batch in np.split(pixels, BATCHES):
                classifier.run(batch)
            if number:  # the first round warms up
                taken.append(time.perf_counter() - start)
    return [len(pixels) / statistics.median(taken) for taken in seconds]


def compare_standalone(standalone: Path, plain: Path, photos: list[Path]) -> str:
    """The largest difference from `predict`, and what a photo takes either way, decoded or not."""
    session = onnxruntime.InferenceSession(standalone, providers=["CPUExecutionProvider"])
    classifier = Classifier.load(plain)
    differences, alone, with_decoding, predicted = [], [], [], []
    for photo in photos:
        start = time.perf_counter()
        image = np.asarray(read_image(photo))
        decoded = time.perf_counter()
        found = session.run([PROBABILITIES, FAMILIARITY], {STANDALONE_INPUT: image})
        done = time.perf_counter()
        expected = classifier.predict(photo)
        predicted.append(time.perf_counter() - done)
        alone.append(done - decoded)
        with_decoding.append(done - start)
        numbers = [*expected.probabilities.values(), expected.familiarity]
        differences.append(float(np.abs(np.hstack(found) - numbers).max()))
    times = (1000 * statistics.median(one) for one in (alone, with_decoding, predicted))
    return f"{max(differences):.4f} | " + " | ".join(f"{ms:.1f} ms" for ms in times)


def enlarge(photos: list[Path], folder: Path) -> list[Path]:
    """The same photos as JPEGs of 12 megapixels."""
    paths = [folder / f"{number}.jpg" for number in range(len(photos))]
    for photo, path in zip(photos, paths, strict=True):
        read_image(photo).resize(LARGE, Image.Resampling.BICUBIC).save(path, quality=92)
    return paths


def main() -> None:
    """Measure all forms."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    parser.add_argument("--cache", type=Path, help="Of features; default: the user's own.")
    given = parser.parse_args()
    photos = sorted((given.data / "test").glob("*/*"))
    chosen = photos[:: max(1, len(photos) // PHOTOS)][:PHOTOS]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = TrainConfig(given.data, out=folder / "run", cache=given.cache)
        index = check_request(config)
        train(config, index)
        files, seconds = [], []
        for form in FORMS:
            start = time.perf_counter()
            files.append(export_run(folder / "run", form=form))
            seconds.append(time.perf_counter() - start)
        classifier = Classifier.load(files[0])
        pixels = np.stack([classifier.pixels(photo) for photo in photos[: BATCH_SIZE * BATCHES]])
        one, two = (rates(files, pixels, threads) for threads in (1, 2))
        print("| file | size | made in | one thread | two | accuracy | log loss | known |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for row in zip(files, seconds, one, two, strict=True):
            file, made_s, *per_second = row
            judged = evaluate(index, file).judged
            print(
                f"| {file.name} | {file.stat().st_size / 1e6:.2f} MB | {made_s:.0f} s | "
                f"{per_second[0]:.0f}/s | {per_second[1]:.0f}/s | "
                f"{judged.metrics.accuracy:.2%} | {judged.metrics.log_loss:.4f} | "
                f"{judged.known.mean():.1%} |"
            )
        print("\n| standalone | photos | largest difference | graph | decode, graph | predict |")
        print("| --- | --- | --- | --- | --- | --- |")
        large = enlarge(chosen[:: PHOTOS // LARGE_PHOTOS], folder)
        for form, plain in zip(FORMS, files, strict=True):
            standalone = export_run(folder / "run", form=ModelForm(form.weights, standalone=True))
            for kind, paths in (("as they are", chosen), ("12 megapixels", large)):
                found = compare_standalone(standalone, plain, paths)
                print(f"| {standalone.name} | {len(paths)} {kind} | {found} |")


if __name__ == "__main__":
    main()
