from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from petclassify import Classifier
from petclassify.config import Interpolation, ModelForm, Resize
from petclassify.errors import ExitCode, ModelError
from petclassify.images.photo import read_image, to_pixels
from petclassify.images.walk import walk_images
from petclassify.learn.export.export_run import export_run
from petclassify.learn.export.standalone import Window, check_standalone, to_standalone

SHIPPED = Path(__file__).parents[3] / "models" / "catsdogs.onnx"


def standalone_of(model: Path, resize: Resize) -> bytes:
    return to_standalone(onnx.load(model), resize).SerializeToString()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize(("shorter_side", "crop"), [(256, 224), (28, 28), (200, 224)])
@pytest.mark.parametrize(
    "size", [(400, 300), (97, 31), (224, 224), (999, 1500), (300, 400), (1, 1)]
)
def test_the_graph_resamples_as_pillow_does(
    interpolation: Interpolation, shorter_side: int, crop: int, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    resize = Resize(shorter_side, crop, interpolation)
    (found,) = Window(resize)(torch.from_numpy(noise)).int().numpy()
    expected = to_pixels(Image.fromarray(noise), resize).astype(int)
    assert np.abs(found - expected).max() <= 1
    ties = 0.05 if interpolation == "bilinear" else 0  # simple weights often give a half
    assert np.mean(found != expected) < 1e-3 + ties


def test_the_graph_picks_pixels_as_pillow_does() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 401, 3), dtype=np.uint8)
    resize = Resize(230, 200, "nearest")
    (found,) = Window(resize)(torch.from_numpy(noise)).numpy()
    assert np.mean(found == to_pixels(Image.fromarray(noise), resize)) > 0.99


def test_a_standalone_file_takes_photos_of_any_size_and_says_what_predict_says(
    drawn_run: Path, drawn_pets: Path, copied: Callable[[Path], Path], tmp_path: Path
) -> None:
    run = copied(drawn_run)
    written = export_run(run, form=ModelForm(standalone=True))
    assert written == run / "model.standalone.onnx"
    session = onnxruntime.InferenceSession(written)
    about = session.get_modelmeta().custom_metadata_map
    assert list(about) == ["petclassify"]
    classifier = Classifier.load(run)
    photos = [read_image(path) for path in list(walk_images(drawn_pets))[::6]]
    photos += [photos[0].resize(size) for size in ((640, 480), (200, 900), (30, 31), (1, 1))]
    for photo in photos:
        probabilities, familiarity = session.run(None, {"image": np.asarray(photo)})
        expected = classifier.predict(photo)
        assert probabilities == pytest.approx([*expected.probabilities.values()], abs=0.01)
        assert familiarity.shape == ()
        assert familiarity == pytest.approx(expected.familiarity, abs=0.01)


def test_a_standalone_file_that_crops_otherwise_is_refused(
    drawn_run: Path, drawn_pets: Path
) -> None:
    classifier = Classifier.load(drawn_run)
    asked = classifier.info.preprocessing
    content = standalone_of(
        drawn_run / "model.onnx", Resize(asked.shorter_side * 3, asked.crop, asked.interpolation)
    )
    photos = [(path, read_image(path)) for path in list(walk_images(drawn_pets))[::6]]
    with pytest.raises(ModelError, match="away from those of predict"):
        check_standalone(content, classifier, photos)


def test_predict_refuses_a_standalone_file_and_names_the_right_one(
    petclassify: Callable, drawn_run: Path, drawn_pets: Path, tmp_path: Path
) -> None:
    resize = Classifier.load(drawn_run).info.preprocessing
    model = tmp_path / "model.standalone.onnx"
    model.write_bytes(standalone_of(drawn_run / "model.onnx", resize))
    outcome = petclassify("predict", drawn_pets, "--model", model)
    assert outcome.code == ExitCode.MODEL
    assert "Use the model.onnx beside it" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.slow
def test_200_real_photos_get_the_numbers_of_predict_within_a_hundredth(catsdogs: Path) -> None:
    classifier = Classifier.load(SHIPPED)
    content = standalone_of(SHIPPED, classifier.info.preprocessing)
    photos = sorted(walk_images(catsdogs / "test"))[::2][:200]
    pairs = ((path, read_image(path)) for path in photos)
    assert check_standalone(content, classifier, pairs) < 0.01
