"""The examples run as their README says, by themselves, in a folder of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from petclassify import Classifier
from petclassify.learn.export.standalone import to_standalone

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def standalone(drawn_run: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model.standalone.onnx"
    resize = Classifier.load(drawn_run).info.preprocessing
    graph = to_standalone(onnx.load(drawn_run / "model.onnx"), resize)
    path.write_bytes(graph.SerializeToString())
    return path


def require_same(said: str, drawn_run: Path, photo: Path) -> None:
    label, probability, known = said.split()
    expected = Classifier.load(drawn_run).predict(photo)
    assert label == expected.label
    assert float(probability) == pytest.approx(expected.probability, abs=0.01)
    assert known == ("known" if expected.known else "unknown")


def test_the_python_example_says_what_predict_says(
    drawn_run: Path, drawn_pets: Path, standalone: Path, tmp_path: Path
) -> None:
    for photo in sorted(drawn_pets.glob("*/*.jpg"))[::30]:
        command = [sys.executable, "-I", EXAMPLES / "predict.py", standalone, photo]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        require_same(done.stdout, drawn_run, photo)


def test_the_python_example_imports_nothing_of_ours() -> None:
    assert "petclassify" not in [
        line.split()[1].partition(".")[0]
        for line in (EXAMPLES / "predict.py").read_text().splitlines()
        if line.startswith(("import ", "from "))
    ]


def test_the_node_example_says_what_predict_says(
    drawn_run: Path, drawn_pets: Path, standalone: Path, tmp_path: Path
) -> None:
    node = shutil.which("node")
    packages = Path(os.environ.get("PETCLASSIFY_NODE_MODULES", EXAMPLES / "node_modules"))
    if node is None or not (packages / "onnxruntime-web").is_dir():
        pytest.skip("needs node, and npm install in examples/ (or PETCLASSIFY_NODE_MODULES)")
    shutil.copy(EXAMPLES / "predict.mjs", tmp_path)
    (tmp_path / "node_modules").symlink_to(packages)
    photo = min(drawn_pets.glob("*/*.jpg"))
    command = [node, "predict.mjs", standalone, photo]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    require_same(done.stdout, drawn_run, photo)
