"""Does a model know nothing when it sees it? Noise and colour gradients, as a test of `unknown`.

Whether a model rejects what it was not made for depends on its features. Those of pretrained
networks do; those of a small network trained from scratch on few photos hardly tell anything
from its classes (ResNet-18 from 2,000 cats and dogs calls all noise known). That can be seen
without any photo of other things, and the report says it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from petclassify.report.metrics import percent
from petclassify.runtime.classifier import Classifier

PICTURES = 32
MAX_KNOWN = 0.1


def doubt_of_unknown(classifier: Classifier) -> Iterator[str]:
    """Say, in a sentence, that pictures of nothing are called known, if they are."""
    known = float(np.mean([classifier.predict(picture).known for picture in _pictures()]))
    if known > MAX_KNOWN:
        yield (
            f"Of {PICTURES} pictures of nothing, noise and colour gradients, it calls "
            f"{percent(known, 0)} known: do not count on it to say unknown."
        )


def _pictures() -> Iterator[Image.Image]:
    generator = np.random.default_rng(0)
    for _ in range(PICTURES // 2):
        yield Image.fromarray(generator.integers(0, 256, (240, 320, 3), dtype=np.uint8))
        spots = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        yield spots.resize((320, 240), Image.Resampling.BICUBIC)
