"""What the base install must do by itself; `.ci/run` runs it where only that is installed."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

for absent in ("torch", "timm", "onnx", "sklearn", "matplotlib"):
    assert importlib.util.find_spec(absent) is None, f"{absent} came with the base install"

with tempfile.TemporaryDirectory() as folder:
    photo = Path(folder) / "photo.jpg"
    Image.new("RGB", (320, 240), "tan").save(photo)
    command = [str(Path(sys.executable).with_name("petclassify"))]
    done = subprocess.run(
        [*command, "predict", photo, "--format", "jsonl"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["label"] in ("cats", "dogs")
    assert "shipped" in done.stderr, done.stderr

    refused = subprocess.run(
        [*command, "train", folder], cwd=folder, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 6, refused
    assert "pip install 'petclassify[train]'" in refused.stderr

    refused = subprocess.run(
        [*command, "serve"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 6, refused
    assert "pip install 'petclassify[serve]'" in refused.stderr

photos = Path("../shared/data/catsdogs/test")
if photos.is_dir():
    judged = subprocess.run(
        [*command, "evaluate", photos, "--model", "catsdogs", "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(judged.stdout)["accuracy"] >= 0.99

print("the base install predicts, evaluates, and says what training needs")
