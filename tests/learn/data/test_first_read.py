from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from petclassify.config import Resize
from petclassify.images.digests import digest_file
from petclassify.learn.data.first_read import read_once


def test_the_deviation_of_large_dark_photos_is_theirs(tmp_path: Path) -> None:
    """Summed in float32, a million small numbers come out too small."""
    noise = np.random.default_rng(0).integers(2, 8, (2048, 2048, 3), dtype=np.uint8)
    path = tmp_path / "night.png"
    Image.fromarray(noise).save(path, compress_level=1)
    digest = digest_file(path)
    assert isinstance(digest, str)
    found = read_once({digest: path}, Resize(2048, 2048, "bilinear"), max_unreadable=0)
    mean, std = found.channels([digest])
    assert mean == pytest.approx(noise.mean(axis=(0, 1)) / 255, rel=1e-4)
    assert std == pytest.approx(noise.std(axis=(0, 1)) / 255, rel=1e-3)
