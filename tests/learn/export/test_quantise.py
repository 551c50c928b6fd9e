from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from petclassify import Classifier
from petclassify.config import FitConfig, ModelForm, TrainConfig
from petclassify.errors import ExitCode, ModelError
from petclassify.images.walk import walk_images
from petclassify.learn.export.export_run import export_run
from petclassify.learn.export.quantise import check_agreement, quantise
from petclassify.learn.preflight import check_request
from petclassify.learn.train import train


@pytest.fixture(scope="module")
def small_run(drawn_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a network with four layers, which 8 bits hurt. Read it only."""
    out = tmp_path_factory.mktemp("small") / "run"
    fit = FitConfig("all", epochs=1, batch_size=16)
    config = TrainConfig(
        drawn_pets, "zoo/lenet5", "none", out=out, cache=out.parent, fit=fit, precision="fp32"
    )
    train(config, check_request(config))
    return out


@pytest.fixture(scope="module")
def pixels(small_run: Path, drawn_pets: Path) -> np.ndarray:
    classifier = Classifier.load(small_run)
    return np.stack([classifier.pixels(path) for path in walk_images(drawn_pets)])


@pytest.fixture(scope="module")
def quantised(small_run: Path, pixels: np.ndarray) -> onnx.ModelProto:
    return quantise(onnx.load(small_run / "model.onnx"), pixels)


@pytest.mark.slow
def test_an_int8_file_is_a_model_file_a_third_the_size(
    drawn_run: Path, drawn_pets: Path, copied: Callable[[Path], Path]
) -> None:
    run = copied(drawn_run)
    before = (run / "model.onnx").read_bytes()
    written = export_run(run, form=ModelForm("int8"))
    assert written == run / "model.int8.onnx"
    assert written.stat().st_size < len(before) * 0.38
    assert (run / "model.onnx").read_bytes() == before
    floats, ints = Classifier.load(run / "model.onnx"), Classifier.load(written)
    assert ints.info.training == floats.info.training | {"metrics_of": "fp32 weights"}
    assert replace(ints.info, training=floats.info.training) == floats.info
    for photo in walk_images(drawn_pets):
        found, expected = ints.predict(photo), floats.predict(photo)
        assert found.label == expected.label
        assert found.known == expected.known
        assert found.probability == pytest.approx(expected.probability, abs=0.05)


def test_the_first_layer_the_head_and_the_prototypes_stay_in_float(
    quantised: onnx.ModelProto,
) -> None:
    made_by = {output: node for node in quantised.graph.node for output in node.output}

    def is_quantised(node: onnx.NodeProto) -> bool:
        weights = made_by.get(node.input[1])
        return weights is not None and weights.op_type == "DequantizeLinear"

    layers = {n.name: n for n in quantised.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")}
    in_float = [name for name, node in layers.items() if not is_quantised(node)]
    assert in_float == ["/extractor/network/conv1/Conv", "/head/Gemm", "/MatMul"]
    assert len(layers) == 6


def test_an_int8_file_carries_no_trace_of_the_quantiser(quantised: onnx.ModelProto) -> None:
    assert [one.key for one in quantised.metadata_props] == ["petclassify"]
    assert [output.name for output in quantised.graph.output] == ["probabilities", "familiarity"]
    assert [(one.domain, one.version) for one in quantised.opset_import] == [("", 17)]
    assert quantised.ir_version <= 8


def test_a_refused_int8_file_names_the_layers_that_hurt(
    small_run: Path, pixels: np.ndarray
) -> None:
    model = onnx.load(small_run / "model.onnx")
    turned = onnx.ModelProto()
    turned.CopyFrom(model)
    for tensor in turned.graph.initializer:
        if tensor.name == "head.weight":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    labels = np.zeros(len(pixels), np.int64)
    with pytest.raises(ModelError, match=r"hurt most: .*\. No model file") as refused:
        check_agreement(model, turned, pixels, labels)
    named = str(refused.value).partition("hurt most: ")[2].partition(".")[0].split(", ")
    # Which of them hurt most is the training's, and differs from processor to processor.
    assert len(set(named)) == 3
    assert set(named) <= {"conv1", "conv2", "fc1", "fc2"}


def test_a_file_that_agrees_passes_and_that_is_said(
    small_run: Path, pixels: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="petclassify")
    model = onnx.load(small_run / "model.onnx")
    check_agreement(model, model, pixels, np.zeros(7, np.int64))
    assert f"int8: accepted: the verdict is the float model's on 100.00 % of {len(pixels)}" in (
        caplog.text
    )
    assert "on 7 validation photos" in caplog.text


def test_int8_and_fp16_weights_together_are_refused(petclassify: Callable) -> None:
    outcome = petclassify("export", "run", "--int8", "--fp16-weights")
    assert outcome.code == ExitCode.USAGE
    assert "Choose one" in outcome.err
