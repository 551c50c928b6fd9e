from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from petclassify import Classifier
from petclassify.config import Resize
from petclassify.errors import ModelError
from petclassify.runtime.model_file import (
    METADATA_KEY,
    file_of,
    load_model,
    parse_model,
    read_model,
)
from petclassify.runtime.model_info import ModelInfo
from petclassify.runtime.onnx_wire import read_metadata

INFO = ModelInfo(("cats", "dogs"), Resize(9, 8, "bicubic"), 1.0, 0.5, "toy")


def toy_model(
    info: str | None = None, num_classes: int = 2, side: int = 8, dtype: int = TensorProto.UINT8
) -> onnx.ModelProto:
    """The mean pixel, through a linear layer; familiar is what it is sure of."""
    weight = np.ones((3, num_classes), np.float32) * np.arange(num_classes, dtype=np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["features"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities"], ["familiarity"], axes=[1], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("images", dtype, ["N", side, side, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", num_classes]),
            helper.make_tensor_value_info("familiarity", TensorProto.FLOAT, ["N"]),
        ],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key=METADATA_KEY, value=INFO.to_json() if info is None else info)
    return model


WHOLE = toy_model().SerializeToString()


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], str]:
    def load(content: bytes) -> str:
        path = tmp_path / "model.onnx"
        path.write_bytes(content)
        with pytest.raises(ModelError) as error:
            load_model(path)
        message = str(error.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message

    return load


def test_a_classifier_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(WHOLE)
    assert repr(Classifier.load(path)) == "<Classifier toy, 2 classes>"


def test_metadata_survive_the_round_trip() -> None:
    assert ModelInfo.from_json(INFO.to_json()) == INFO
    assert read_metadata(toy_model().SerializeToString())[METADATA_KEY] == INFO.to_json()


def test_a_whole_model_file_predicts(tmp_path: Path) -> None:
    onnx.save(toy_model(), tmp_path / "model.onnx")
    probabilities, familiarity = Classifier.load(tmp_path).run(np.ones((5, 8, 8, 3), np.uint8))
    assert probabilities.shape == (5, 2)
    assert familiarity.shape == (5,)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("photo", [np.zeros((9, 9, 3), np.uint8), bytearray(b"\xff\xd8"), None])
def test_what_is_no_photo_is_told_from_one(tmp_path: Path, photo: object) -> None:
    onnx.save(toy_model(), tmp_path / "model.onnx")
    with pytest.raises(TypeError, match="a photo is a path, the bytes of an image file"):
        Classifier.load(tmp_path).predict(photo)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 20, -1, -100])
@pytest.mark.attack("Model files")
def test_damaged_files_are_refused(refused: Callable[[bytes], str], size: int) -> None:
    refused(toy_model().SerializeToString()[:size])


@given(st.binary(max_size=300) | st.binary(max_size=40).map(lambda b: b"\x3a" + b))
@pytest.mark.attack("Model files")
def test_whatever_bytes_come_only_a_model_error_leaves(content: bytes) -> None:
    with contextlib.suppress(ModelError):
        read_metadata(content)


@given(st.data())
@pytest.mark.attack("Model files")
def test_a_model_with_one_byte_changed_loads_or_is_refused(data: st.DataObject) -> None:
    content = bytearray(WHOLE)
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelError):
        parse_model(bytes(content))


@pytest.mark.attack("Model files")
def test_an_onnx_of_someone_else_is_refused(refused: Callable[[bytes], str]) -> None:
    model = toy_model()
    del model.metadata_props[:]
    assert "not one that petclassify made" in refused(model.SerializeToString())


def place_outside(tensor: TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


@pytest.mark.parametrize("location", ["weights.bin", "/etc/passwd", "../weights.bin"])
@pytest.mark.attack("Model files")
def test_external_data_are_refused_unread(refused: Callable[[bytes], str], location: str) -> None:
    model = toy_model()
    place_outside(model.graph.initializer[0], location)
    assert "external data" in refused(model.SerializeToString())


@pytest.mark.attack("Model files")
def test_external_data_are_found_in_every_corner(refused: Callable[[bytes], str]) -> None:
    outside = numpy_helper.from_array(np.ones((3, 2), np.float32), "weight")
    place_outside(outside, "weights.bin")
    constant = helper.make_node("Constant", [], ["c"], value=outside)
    branch = helper.make_graph([constant], "branch", [], [])

    in_node, in_branch, in_sparse, in_function = (toy_model() for _ in range(4))
    in_node.graph.node.append(constant)
    in_branch.graph.node.append(
        helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    )
    in_sparse.graph.sparse_initializer.add().values.CopyFrom(outside)
    in_function.functions.append(
        helper.make_function("local", "f", [], ["c"], [constant], [helper.make_opsetid("", 17)])
    )
    for model in (in_node, in_branch, in_sparse, in_function):
        assert "external data" in refused(model.SerializeToString())


@pytest.mark.attack("Model files")
def test_external_data_behind_a_hard_link_are_refused_unread(
    refused: Callable[[bytes], str], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(bytes(24))
    (tmp_path / "weights.bin").hardlink_to(tmp_path / "secret")
    model = toy_model()
    place_outside(model.graph.initializer[0], "weights.bin")
    assert "external data" in refused(model.SerializeToString())


def endless_loop() -> onnx.NodeProto:
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])],
    )
    return helper.make_node("Loop", ["", "yes"], [], body=body)


@pytest.mark.attack("Model files")
def test_a_graph_that_loops_or_branches_is_refused_unrun(refused: Callable[[bytes], str]) -> None:
    looping, branching, calling = (toy_model() for _ in range(3))
    looping.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    looping.graph.node.insert(0, endless_loop())
    branch = helper.make_graph([helper.make_node("Identity", ["images"], ["y"])], "b", [], [])
    branching.graph.node.append(
        helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    )
    calling.functions.append(
        helper.make_function(
            "local",
            "f",
            ["x"],
            ["y"],
            [helper.make_node("Identity", ["x"], ["y"])],
            [helper.make_opsetid("", 17)],
        )
    )
    for model in (looping, branching, calling):
        assert "branches or loops" in refused(model.SerializeToString())


@pytest.mark.parametrize(
    "lie",
    [
        {"class_names": ["cats", "dogs", "birds"]},
        {"class_names": ["cats", "cats"]},
        {"class_names": ["cats"]},
        {"preprocessing": {"resize": 9, "crop": 16, "interpolation": "bicubic"}},
        {"preprocessing": {"resize": 9, "crop": 10**9, "interpolation": "bicubic"}},
        {"preprocessing": {"resize": 9, "crop": 8, "interpolation": "magic"}},
        {"preprocessing": None},
        {"format_version": 1},
        {"known_threshold": 1.5},
        {"known_threshold": float("nan")},
        {"known_threshold": None},
        {"temperature": "hot"},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"doubt": 1.0},
        {"doubt": float("nan")},
        {"class_names": "ab"},
        {"preprocessing": {"resize": float("inf"), "crop": 8, "interpolation": "bicubic"}},
    ],
)
@pytest.mark.attack("Model files")
def test_metadata_that_lie_are_refused(refused: Callable[[bytes], str], lie: dict) -> None:
    spoilt = json.dumps(json.loads(INFO.to_json()) | lie)
    refused(toy_model(spoilt).SerializeToString())


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", "null"])
@pytest.mark.attack("Model files")
def test_metadata_that_cannot_be_read_are_refused(
    refused: Callable[[bytes], str], text: str
) -> None:
    refused(toy_model(text).SerializeToString())


@pytest.mark.attack("Model files")
def test_a_graph_of_another_shape_or_type_is_refused(refused: Callable[[bytes], str]) -> None:
    assert "its inputs are" in refused(toy_model(side=9).SerializeToString())
    assert "its inputs are" in refused(toy_model(dtype=TensorProto.FLOAT).SerializeToString())
    assert "its outputs are" in refused(toy_model(num_classes=3).SerializeToString())


@pytest.mark.attack("Model files")
def test_a_model_that_is_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "model.onnx"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ModelError, match="no regular file"):
            read_model(path)


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no such model file or run folder\. Give"):
        load_model(tmp_path / "none.onnx")


def test_a_misspelt_model_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "photos-lite0").mkdir()
    with pytest.raises(ModelError, match=r"photos-lite: no such .*; did you mean .*photos-lite0\?"):
        load_model(tmp_path / "photos-lite")


@pytest.mark.attack("Model files")
def test_numbers_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    model = toy_model()
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    softmax.op_type = "Relu"
    del softmax.attribute[:]
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="no probabilities"):
        Classifier.load(tmp_path).run(np.ones((1, 8, 8, 3), np.uint8))


@pytest.mark.attack("Model files")
def test_probabilities_below_none_are_refused_though_they_sum_to_one(tmp_path: Path) -> None:
    model = toy_model()
    (softmax,) = (node for node in model.graph.node if node.op_type == "Softmax")
    softmax.output[0] = "shares"
    shifted = helper.make_node("Add", ["shares", "shift"], ["probabilities"])
    model.graph.node.insert(list(model.graph.node).index(softmax) + 1, shifted)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([-5, 5]), "shift"))
    for most in (node for node in model.graph.node if node.op_type == "ReduceMax"):
        most.input[0] = "shares"
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="no probabilities"):
        Classifier.load(tmp_path).run(np.ones((1, 8, 8, 3), np.uint8))


@pytest.mark.attack("Model files")
def test_a_familiarity_that_is_none_is_refused(tmp_path: Path) -> None:
    model = toy_model()
    (most,) = (node for node in model.graph.node if node.op_type == "ReduceMax")
    most.input[0], most.op_type = "logits", "ReduceSum"
    del most.attribute[:]
    most.attribute.append(helper.make_attribute("keepdims", 0))
    most.input.append("axis")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "axis"))
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="no probabilities"):
        Classifier.load(tmp_path).run(np.full((1, 8, 8, 3), 9, np.uint8))


@pytest.mark.attack("Model files")
def test_a_model_without_familiarity_is_refused(refused: Callable[[bytes], str]) -> None:
    model = toy_model()
    del model.graph.output[1]
    assert "its outputs are" in refused(model.SerializeToString())


def test_a_photo_is_known_from_the_threshold_on(tmp_path: Path) -> None:
    onnx.save(toy_model(), tmp_path / "model.onnx")
    classifier = Classifier.load(tmp_path)
    sure = np.array([0.2, 0.8], np.float32)
    assert classifier.describe(sure, 0.5).known
    assert not classifier.describe(sure, 0.4999).known


@pytest.mark.parametrize("name", ["w.pth", "checkpoint.safetensors"])
def test_weights_are_told_from_a_model_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match="a file of weights, not a model file"):
        file_of(tmp_path / name)


def test_a_folder_that_is_no_run_is_refused_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no run folder") as error:
        file_of(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: ")


def varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def hiding_its_graph(model: onnx.ModelProto) -> bytes:
    """A model whose graph stands under a number that is its own in the lower 32 bits only."""
    graph = model.graph.SerializeToString()
    decoy = onnx.ModelProto()
    decoy.CopyFrom(model)
    decoy.graph.Clear()
    return decoy.SerializeToString() + varint(2**32 + (7 << 3 | 2)) + varint(len(graph)) + graph


def branching() -> onnx.ModelProto:
    model = toy_model()
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    given = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    same = helper.make_node("Identity", ["probabilities"], ["y"])
    branch = helper.make_graph([same], "branch", [], [given])
    choice = helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch)
    model.graph.node.append(choice)
    return model


def outside() -> onnx.ModelProto:
    model = toy_model()
    place_outside(model.graph.initializer[0], "weights.bin")
    return model


@pytest.mark.parametrize("model", [branching(), outside(), toy_model()], ids=["if", "file", "good"])
@pytest.mark.attack("Model files")
def test_a_graph_that_only_protobuf_would_find_is_refused(
    refused: Callable[[bytes], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: onnx.ModelProto,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.ones((3, 2), np.float32).tofile("weights.bin")
    assert "damaged" in refused(hiding_its_graph(model))


def in_two_formats(model: onnx.ModelProto, decoy: bytes, folder: Path) -> bytes:
    """A file that is one model in ONNX, and another in ONNX Runtime's own format.

    That format's mark are its bytes 4 to 7, before which stands where its content begins; all
    within it is told from where it is said. In ONNX all of it is fields that nobody knows.
    """
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    own = (folder / "model.ort").read_bytes()
    assert own[4:8] == b"ORTM"
    (start,) = struct.unpack_from("<I", own)
    # Where the first four bytes are the whole of a field and the tag of another.
    shift = next(s for s in range(0, 2**16, 8) if (start + s) & 0xFF80FF == 0x8008)
    content = bytearray(struct.pack("<I", start + shift) + b"ORTM" + bytes(shift) + own[8:])
    skipped = 7 + ord("T")
    rest = len(content) - skipped - 4
    content[skipped : skipped + 4] = b"\x12" + bytes(
        [rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14]
    )
    return bytes(content) + decoy


@pytest.mark.attack("Model files")
def test_a_model_in_the_runtimes_own_format_behind_another_is_refused(
    refused: Callable[[bytes], str], tmp_path: Path
) -> None:
    content = in_two_formats(branching(), WHOLE, tmp_path)
    assert METADATA_KEY in read_metadata(content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert len(session.get_outputs()) == 2  # as it would be loaded
    assert "ONNX Runtime cannot load it" in refused(content)


@pytest.mark.parametrize(
    "lie",
    [
        {"training": {"accuracy": float("nan")}},
        {"training": {"accuracy": float("inf")}},
        {"class_names": ["cats", "\ud800"]},
        {"training": {"date": "\ud800"}},
    ],
)
@pytest.mark.attack("Model files")
def test_metadata_that_no_answer_could_hold_are_refused(
    refused: Callable[[bytes], str], lie: dict
) -> None:
    spoilt = json.dumps(json.loads(INFO.to_json()) | lie)
    assert "cannot be handed on" in refused(toy_model(spoilt).SerializeToString())


def test_what_was_read_can_be_written_however_deep_it_is() -> None:
    deep: dict[str, object] = {}
    for _ in range(480):
        deep = {"in": deep}
    text = json.dumps(json.loads(INFO.to_json()) | {"training": deep})
    assert ModelInfo.from_json(ModelInfo.from_json(text).to_json()).training == deep
