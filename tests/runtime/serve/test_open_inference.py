from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from petclassify import Classifier
from tests.runtime.serve.conftest import SHIPPED, Client

INFER = "/v2/models/catsdogs/infer"


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    """Two windows of noise, (2, 224, 224, 3)."""
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def asked(windows: np.ndarray, data: Any, **more: Any) -> str:
    tensor = {"name": "images", "shape": list(windows.shape), "datatype": "UINT8", "data": data}
    return json.dumps({"inputs": [tensor], **more})


def test_the_server_and_its_model_are_described(server: Client) -> None:
    assert server.ask("/v2").json["name"] == "petclassify"
    assert server.ask("/v2/health/live").status == 200
    assert server.ask("/v2/health/ready").status == 200
    assert server.ask("/v2/models/catsdogs/ready").json["ready"] is True
    model = server.ask("/v2/models/catsdogs").json
    assert model["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 224, 224, 3]}]
    assert [output["shape"] for output in model["outputs"]] == [[-1, 2], [-1]]


def test_flat_and_nested_data_give_what_the_classifier_gives(
    server: Client, windows: np.ndarray
) -> None:
    probabilities, familiarity = Classifier.load(SHIPPED).run(windows)
    for data in (windows.tolist(), windows.ravel().tolist()):
        answer = server.ask(INFER, asked(windows, data, id="seven")).json
        assert (answer["model_name"], answer["id"]) == ("catsdogs", "seven")
        first, second = answer["outputs"]
        assert (first["name"], first["datatype"], first["shape"]) == (
            "probabilities",
            "FP32",
            [2, 2],
        )
        assert first["data"] == pytest.approx(probabilities.ravel().tolist(), abs=1e-4)
        assert (second["name"], second["shape"]) == ("familiarity", [2])
        assert second["data"] == pytest.approx(familiarity.tolist(), abs=1e-4)


def test_only_the_outputs_asked_for_are_given(server: Client, windows: np.ndarray) -> None:
    body = asked(windows[:1], windows[:1].tolist(), outputs=[{"name": "familiarity"}])
    (output,) = server.ask(INFER, body).json["outputs"]
    assert output["name"] == "familiarity"


@pytest.mark.parametrize("body", ["", "not JSON", "[" * 100_000, "[]", "{}", '{"inputs": []}'])
def test_a_body_that_is_no_request_is_refused(server: Client, body: str) -> None:
    answer = server.ask(INFER, body)
    assert answer.status == 400
    assert isinstance(answer.json["error"], str)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "pixels"},
        {"datatype": "FP32"},
        {"shape": None},
        {"shape": [0, 224, 224, 3]},
        {"shape": [1e9, 224, 224, 3]},
        {"shape": [65, 224, 224, 3]},
        {"shape": [2, 224, 224, 3]},
        {"shape": [1, 2, 2, 3]},
        {"data": None},
        {"data": []},
        {"data": [1, [2]]},
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(server: Client, change: dict[str, Any]) -> None:
    tensor = {"name": "images", "shape": [1, 224, 224, 3], "datatype": "UINT8"}
    tensor["data"] = [0] * (224 * 224 * 3)
    assert server.ask(INFER, json.dumps({"inputs": [tensor]})).status == 200
    answer = server.ask(INFER, json.dumps({"inputs": [tensor | change]}))
    assert answer.status == 400
    assert isinstance(answer.json["error"], str)


@pytest.mark.parametrize("value", [256, -1, 0.5, "1", None, True, 2**70])
def test_values_that_are_no_pixels_are_refused(
    server: Client, windows: np.ndarray, value: object
) -> None:
    data = [value] * windows[:1].size
    assert server.ask(INFER, asked(windows[:1], data)).status == 400


@pytest.mark.attack("Server")
def test_more_lists_than_pixels_are_refused_unparsed(server: Client) -> None:
    start = (
        b'{"inputs": [{"name": "images", "shape": [1, 224, 224, 3], "datatype": "UINT8", "data": '
    )
    for data, said in (
        (b"[%s]" % b",".join([b"[[[1]]]"] * 1000), "more lists than pixels"),
        (b"[%s]" % b",".join([b"[0,0,0]"] * 200_000), "the data holds 600000 values"),
    ):
        answer = server.ask(INFER, start + data + b"}]}")
        assert answer.status == 400
        assert said in answer.json["error"]


def test_more_json_than_parses_quickly_is_refused(server: Client) -> None:
    answer = server.ask(INFER, b"[" * (4 * 2**20 + 1))
    assert (answer.status, answer.json) == (413, {"error": "the request is larger than 4 MiB"})


@pytest.mark.attack("Server")
def test_an_answer_cannot_be_made_large_by_asking_again_and_again(
    server: Client, windows: np.ndarray
) -> None:
    outputs = [{"name": "probabilities"}] * 1000
    answer = server.ask(INFER, asked(windows[:1], windows[:1].tolist(), outputs=outputs))
    assert (answer.status, answer.json) == (400, {"error": "outputs must name each only once"})


def test_unknown_outputs_and_models_are_refused(server: Client, windows: np.ndarray) -> None:
    body = asked(windows[:1], windows[:1].tolist(), outputs=[{"name": "logits"}])
    assert "logits" not in server.ask(INFER, body).json["error"]
    for answer in (
        server.ask("/v2/models/none"),
        server.ask("/v2/models/none/ready"),
        server.ask("/v2/models/none/infer", body),
    ):
        assert answer.status == 404
        assert "catsdogs" in answer.json["error"]


def test_what_the_gate_refuses_is_said_in_the_words_of_the_protocol(server: Client) -> None:
    for path in ("/v2", INFER):
        answer = server.ask(path, b"{}" if path == INFER else None, host="evil.example")
        assert answer.status == 421
        assert isinstance(answer.json["error"], str)
