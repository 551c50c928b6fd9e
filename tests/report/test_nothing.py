from __future__ import annotations

import json
from pathlib import Path

import onnx

from petclassify import Classifier
from petclassify.report.nothing import doubt_of_unknown
from petclassify.runtime.model_file import METADATA_KEY
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"


def test_the_shipped_model_knows_nothing_when_it_sees_it() -> None:
    assert not list(doubt_of_unknown(Classifier.load(SHIPPED)))


def test_a_model_that_knows_everything_is_told_of(tmp_path: Path) -> None:
    model = onnx.load(SHIPPED)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = json.dumps(json.loads(entry.value) | {"known_threshold": 0.0})
    onnx.save(model, tmp_path / "model.onnx")
    (said,) = doubt_of_unknown(Classifier.load(tmp_path / "model.onnx"))
    assert "it calls 100 % known: do not count on it" in said
