"""docs/model-file.md says what a model file is, to the key, and its listing runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from petclassify import Classifier
from petclassify.learn.export.half_weights import halve_weights
from petclassify.learn.export.standalone import to_standalone
from petclassify.runtime.model_file import METADATA_KEY
from petclassify.runtime.model_info import FORMAT_VERSION
from tests.conftest import REPOSITORY
from tests.pages import DOCS, listings

PAGE = DOCS / "model-file.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"
KINDS = {
    "integer": int,
    "number": float,
    "number, 0 to 1": float,
    "string": str,
    "string or null": str,
    "list of strings": list,
    "object": dict,
}
ELEMENTS = {onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.FLOAT: "float32"}


def metadata_of(model: onnx.ModelProto) -> dict[str, object]:
    (entry,) = [one for one in model.metadata_props if one.key == METADATA_KEY]
    about: dict[str, object] = json.loads(entry.value)
    return about


def test_the_table_of_keys_is_that_of_the_shipped_model() -> None:
    about = metadata_of(onnx.load(SHIPPED))
    about |= {f"preprocessing.{key}": value for key, value in about.pop("preprocessing").items()}
    told = dict(re.findall(r"^\| `([a-z_.]+)` \| ([^|]+) \|", section("Metadata"), re.MULTILINE))
    assert set(told) == set(about)
    for key, kind in told.items():
        assert isinstance(about[key], KINDS[kind]), key
    assert f"| `format_version` | integer | {FORMAT_VERSION};" in TEXT


@pytest.fixture(scope="module")
def forms() -> dict[str, onnx.ModelProto]:
    plain = onnx.load(SHIPPED)
    standalone = to_standalone(plain, Classifier.load(SHIPPED).info.preprocessing)
    return {"Plain": plain, "half": halve_weights(plain), "Standalone": standalone}


def test_the_tables_of_inputs_and_outputs_are_those_of_the_files(
    forms: dict[str, onnx.ModelProto],
) -> None:
    for form, page_names_it in (("Plain", "Plain"), ("half", "Plain"), ("Standalone",) * 2):
        told = section("Inputs and outputs").partition(f"\n{page_names_it}, ")[2]
        graph = forms[form].graph
        sizes = {"crop": 224, "classes": 2}
        for role, values in (("input", graph.input), ("output", graph.output)):
            rows = re.findall(rf"^\| {role} \| `(\w+)` \| (\w+) \| \(([^)]*)\)", told, re.MULTILINE)
            for value, (name, kind, shape) in zip(values, rows, strict=False):
                dims = value.type.tensor_type.shape.dim
                found = [one.dim_param or one.dim_value for one in dims]
                expected = [sizes.get(one, one) for one in re.findall(r"\w+", shape)]
                assert (value.name, ELEMENTS[value.type.tensor_type.elem_type]) == (name, kind)
                assert [str(one) for one in found] == [str(one) for one in expected]


def test_opset_and_operators_are_as_told(forms: dict[str, onnx.ModelProto]) -> None:
    (opset, ir) = re.findall(r"Opset (\d+), IR version (\d+)", TEXT)[0]
    for model in forms.values():
        assert {(one.domain, str(one.version)) for one in model.opset_import} == {("", opset)}
        assert str(model.ir_version) == ir
        assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
        assert metadata_of(model)["format_version"] == FORMAT_VERSION


def test_the_listing_says_what_predict_says(drawn_pets: Path, tmp_path: Path) -> None:
    (listing,) = listings(PAGE, "python")
    (tmp_path / "listing.py").write_text(listing)
    classifier = Classifier.load(SHIPPED)
    photos = [min((drawn_pets / name).iterdir()) for name in ("cats", "dogs")]
    for photo in photos:
        command = [sys.executable, "-I", "listing.py", SHIPPED, photo]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        expected = classifier.predict(photo)
        known = "known" if expected.known else "unknown"
        assert done.stdout.split() == [expected.label, f"{expected.probability:.4f}", known]


def section(title: str) -> str:
    """The text below a heading, up to the next of its rank."""
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
