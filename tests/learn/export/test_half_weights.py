from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from petclassify import Classifier
from petclassify.config import ModelForm
from petclassify.images.walk import walk_images
from petclassify.learn.export.export_run import export_run
from petclassify.learn.export.half_weights import halve_weights


def test_half_weights_halve_the_file_and_hardly_move_its_numbers(
    drawn_run: Path, drawn_pets: Path, copied: Callable[[Path], Path]
) -> None:
    run = copied(drawn_run)
    halved = export_run(run, form=ModelForm("fp16"))
    assert halved == run / "model.fp16.onnx"
    assert halved.stat().st_size < (run / "model.onnx").stat().st_size * 0.52
    before, after = Classifier.load(run / "model.onnx"), Classifier.load(halved)
    for photo in list(walk_images(drawn_pets))[::6]:
        expected = before.predict(photo)
        assert after.predict(photo).probability == pytest.approx(expected.probability, abs=0.01)


def test_what_float16_cannot_hold_stays_in_float32() -> None:
    weights = {
        "large": np.full(1000, 1e6, np.float32),
        "broken": np.full(1000, np.nan, np.float32),
        "plain": np.linspace(-2, 2, 1000, dtype=np.float32),
        "few": np.ones(3, np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in weights],
        "weights",
        [],
        [helper.make_tensor_value_info(f"{n}_out", TensorProto.FLOAT, ["N"]) for n in weights],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    halved = halve_weights(helper.make_model(graph))
    onnx.checker.check_model(halved)
    kinds = {t.name: t.data_type for t in halved.graph.initializer}
    assert kinds == {
        "large": TensorProto.FLOAT,
        "broken": TensorProto.FLOAT,
        "plain_float16": TensorProto.FLOAT16,
        "few": TensorProto.FLOAT,
    }
