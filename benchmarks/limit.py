"""What no program can avoid: `python benchmarks/limit.py DATA`, as JSON.

Decoding each photo, on all cores, and one network forward of each view (two of each training
photo, one of each test photo) on the fastest engine here. Both are measured on the default
backbone, each by itself: decoding only, then the network only, on pixels that lie ready.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from petclassify.config import DEFAULT_BACKBONE
from petclassify.images.photo import read_pixels
from petclassify.images.walk import walk_images
from petclassify.learn.backbones.backbone import load_backbone
from petclassify.learn.frozen.engines import fastest_engine

BATCH_SIZE = 32


@dataclass(frozen=True)
class Limit:
    """Rates per second, and the seconds of a training that does nothing else."""

    decoded: float
    engine: str
    views: float
    train_s: float


def measure_limit(data: Path) -> Limit:
    """Decode a sample of the training photos, and run it through the network."""
    train, test = list(walk_images(data / "train")), list(walk_images(data / "test"))
    backbone = load_backbone(DEFAULT_BACKBONE, "pretrained")
    sample = train[:: max(1, len(train) // 512)]

    def decode(path: Path) -> np.ndarray:
        return read_pixels(path, backbone.resize)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(decode, sample[:64]))
        start = time.perf_counter()
        pixels = np.stack(list(pool.map(decode, sample)))
        decode_s = (time.perf_counter() - start) / len(sample)
    engine = fastest_engine(backbone.extractor, pixels)
    start = time.perf_counter()
    for first in range(0, len(pixels), BATCH_SIZE):
        engine.run(pixels[first : first + BATCH_SIZE])
    forward_s = (time.perf_counter() - start) / len(pixels)
    train_s = decode_s * (len(train) + len(test)) + forward_s * (2 * len(train) + len(test))
    return Limit(1 / decode_s, engine.name, 1 / forward_s, train_s)


if __name__ == "__main__":
    print(json.dumps(asdict(measure_limit(Path(sys.argv[1])))))
