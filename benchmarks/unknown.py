"""What the shipped model knows and does not know: `python benchmarks/unknown.py`.

The pets of the test split against things that are none: Fashion-MNIST pictures, noise,
gradients, drawn pets, and the upper corners of the pets' own photos, which mostly show
background, and now and then an ear. For each: the share that is called known, and how well
familiarity tells it from the pets (AUROC: 1 is perfectly, 0.5 not at all).

Prints the rows of a Markdown table.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from petclassify import Classifier
from petclassify.images.drawn_pets import draw_pets
from petclassify.images.photo import read_image

SHIPPED = Path(__file__).parents[1] / "models" / "catsdogs.onnx"
FASHION = Path("../shared/data/fashion-mnist/t10k-images-idx3-ubyte.gz")
COUNT = 250
CORNER = 0.25  # of the shorter side


def clothes() -> Iterator[Image.Image]:
    """Fashion-MNIST's test pictures, the first ones."""
    pixels = np.frombuffer(gzip.decompress(FASHION.read_bytes())[16:], np.uint8)
    for picture in pixels.reshape(-1, 28, 28)[:COUNT]:
        yield Image.fromarray(picture).resize((224, 224))


def noise(generator: np.random.Generator) -> Iterator[Image.Image]:
    """Every pixel for itself."""
    for _ in range(COUNT):
        yield Image.fromarray(generator.integers(0, 256, (240, 320, 3), dtype=np.uint8))


def gradients(generator: np.random.Generator) -> Iterator[Image.Image]:
    """Colours that flow into one another."""
    for _ in range(COUNT):
        spots = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        yield spots.resize((320, 240), Image.Resampling.BICUBIC)


def corners(photos: list[Path]) -> Iterator[Image.Image]:
    """The upper corners of photos, left and right in turn."""
    for place, path in enumerate(photos[:COUNT]):
        image = read_image(path)
        side = int(CORNER * min(image.size))
        left = 0 if place % 2 else image.width - side
        yield image.crop((left, 0, left + side, side)).resize((224, 224))


def main() -> None:
    """Measure all sets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    parser.add_argument("--model", type=Path, default=SHIPPED)
    given = parser.parse_args()
    classifier = Classifier.load(given.model)
    generator = np.random.default_rng(0)
    photos = sorted((given.data / "test").glob("*/*"))
    generator.shuffle(photos)
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "drawn"
        draw_pets(drawn, COUNT, seed=1)
        sets = {
            "pets": iter(photos),
            "Fashion-MNIST": clothes(),
            "noise": noise(generator),
            "gradients": gradients(generator),
            "drawn pets": sorted(drawn.glob("*/*")),
            "upper corners of pet photos": corners(photos),
        }
        pets = np.empty(0)
        print("| set | called known | AUROC |\n| --- | --- | --- |")
        for name, pictures in sets.items():
            found = [classifier.predict(picture) for picture in pictures]
            familiarity = np.array([one.familiarity for one in found])
            known = np.mean([one.known for one in found])
            if name == "pets":
                pets, auroc = familiarity, ""
            else:
                labels = [1] * len(pets) + [0] * len(familiarity)
                auroc = f"{roc_auc_score(labels, np.concatenate([pets, familiarity])):.4f}"
            print(f"| {len(found)} {name} | {known:.1%} | {auroc} |")
    start = time.perf_counter()
    pixels = classifier.pixels(photos[0])[None]
    for _ in range(50):
        classifier.run(pixels)
    print(f"\nnetwork, one photo: {1000 * (time.perf_counter() - start) / 50:.2f} ms")


if __name__ == "__main__":
    main()
