"""What the shipped model knows and does not know: `python benchmarks/unknown.py`.

The pets of the test split against things that are none: Fashion-MNIST pictures, noise,
gradients, drawn pets, and background: the upper corners of the pets' own photos, without those
in which some of the pet is seen (by eye, on 2026-11-22: an ear, a tail, fur). For each: the share
that is called known, and how well familiarity tells it from the pets (AUROC: 1 is perfectly,
0.5 not at all). Then what familiarity costs, against the same network without it.

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
import onnx
import onnx.utils
import onnxruntime
from PIL import Image
from sklearn.metrics import roc_auc_score

from petclassify import Classifier
from petclassify.images.drawn_pets import draw_pets
from petclassify.images.photo import read_image
from petclassify.runtime.model_file import INPUT, PROBABILITIES

SHIPPED = Path(__file__).parents[1] / "models" / "catsdogs.onnx"
FASHION = Path("../shared/data/fashion-mnist/t10k-images-idx3-ubyte.gz")
COUNT = 250
CATS_IN_CORNER = """
    4006 4018 4027 4028 4033 4034 4039 4040 4046 4047 4053 4064 4073 4076 4084 4086 4093
    4094 4099 4104 4107 4110 4115 4125 4127 4143 4145 4151 4162 4165 4168 4182 4186 4197
    4199 4200 4205 4207 4213 4215 4222 4230 4236 4243 4245
"""
DOGS_IN_CORNER = """
    4002 4005 4006 4015 4017 4024 4028 4029 4041 4046 4050 4067 4071 4072 4080 4082 4090
    4093 4094 4100 4107 4112 4116 4117 4122 4123 4125 4126 4129 4131 4132 4138 4139 4150
    4153 4154 4155 4157 4166 4170 4186 4190 4196 4201 4216 4219 4226 4228 4237 4239 4241
"""
CORNER = 0.25  # of the shorter side

PET_IN_CORNER = {
    *(f"cat.{number}" for number in CATS_IN_CORNER.split()),
    *(f"dog.{number}" for number in DOGS_IN_CORNER.split()),
}


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


def backgrounds(photos: list[Path]) -> Iterator[Image.Image]:
    """The upper corners of photos, left and right in turn, where no pet is seen in them."""
    for place, path in enumerate(photos[:COUNT]):
        if path.stem in PET_IN_CORNER:
            continue
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
            "background crops": backgrounds(photos),
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
    with_it, without = latencies_ms(given.model, classifier.pixels(photos[0])[None])
    print(
        f"\nnetwork, one photo, medians: {with_it:.2f} ms with familiarity, {without:.2f} ms "
        f"without: {with_it / without - 1:+.1%}"
    )


def latencies_ms(model: Path, pixels: np.ndarray) -> tuple[float, float]:
    """One run with both outputs, and one of the graph cut off before familiarity.

    On one thread, in turns: two sessions' idle threads would slow one another.
    """
    whole = onnx.load(model / "model.onnx" if model.is_dir() else model)
    cut = onnx.utils.Extractor(whole).extract_model([INPUT], [PROBABILITIES])
    one_thread = onnxruntime.SessionOptions()
    one_thread.intra_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(
            one.SerializeToString(), one_thread, providers=["CPUExecutionProvider"]
        )
        for one in (whole, cut)
    ]
    seconds: list[list[float]] = [[], []]
    for _ in range(300):
        for session, taken in zip(sessions, seconds, strict=True):
            start = time.perf_counter()
            session.run(None, {INPUT: pixels})
            taken.append(time.perf_counter() - start)
    with_it, without = (1000 * float(np.median(taken)) for taken in seconds)
    return with_it, without


if __name__ == "__main__":
    main()
