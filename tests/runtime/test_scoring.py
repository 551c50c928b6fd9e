"""Faults are kept for as long as a job takes; the photos that they are of are not."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest

from petclassify import Classifier
from petclassify.config import Resize
from petclassify.errors import ImageError
from petclassify.images.digests import digest_file
from petclassify.learn.data.ahead import decoded_ahead
from petclassify.runtime.explain import Explainer, explain_photos
from petclassify.runtime.scoring import score_batch
from tests.conftest import REPOSITORY
from tests.images.hostile import HOSTILE

SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"


@pytest.mark.parametrize("name", ["zeros.jpg", "truncated.jpg", "9000-squared.png"])
def test_a_batch_with_a_bad_photo_leaves_nothing_of_it_behind(name: str) -> None:
    """Of damaged photos of 49 megapixels, 60 took 4 GB."""
    photo = bytes(bytearray(HOSTILE[name].content))  # that nobody else has
    classifier = Classifier.load(SHIPPED, threads=1)
    gc.collect()
    gc.disable()  # it comes by number of objects, whatever their size
    try:
        before = sys.getrefcount(photo)
        (kept,) = score_batch(classifier, [photo])
        after = sys.getrefcount(photo)
    finally:
        gc.enable()
    assert isinstance(kept, ImageError)
    assert after == before


def test_what_cannot_be_trained_on_is_not_kept_by_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("no photo")
    digest = digest_file(path)
    assert isinstance(digest, str)
    ((_, fault),) = decoded_ahead([(digest, path)], Resize(32, 32, "bilinear"), 1)
    assert_alone(fault)


def test_what_cannot_be_explained_is_not_kept_by_its_fault(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("no photo")
    (scored,) = explain_photos(Explainer.load(SHIPPED).explain, [str(path)], tmp_path / "out")
    assert_alone(scored.outcome)


def assert_alone(fault: object) -> None:
    assert isinstance(fault, ImageError)
    assert (fault.__traceback__, fault.__context__) == (None, None)
