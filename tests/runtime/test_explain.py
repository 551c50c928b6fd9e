from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image

from petclassify import Classifier
from petclassify.config import Resize
from petclassify.errors import ExitCode, ImageError, ModelError, NoActivationMapsError
from petclassify.images.photo import window_box
from petclassify.learn.network import load_checkpoint
from petclassify.runtime.explain import Explainer, class_activation_map, draw_heat
from petclassify.runtime.model_file import HEAD_WEIGHT, METADATA_KEY
from tests.conftest import REPOSITORY, Outcome
from tests.runtime.test_model_file import INFO, toy_model

Run = Callable[..., Outcome]
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"


@pytest.fixture(scope="session")
def explainer(drawn_run: Path) -> Explainer:
    return Explainer.load(drawn_run)


def changed(drawn_run: Path, path: Path, **metadata: object) -> Path:
    """The run's model file with other metadata."""
    model = onnx.load(drawn_run / "model.onnx")
    (entry,) = (e for e in model.metadata_props if e.key == METADATA_KEY)
    entry.value = json.dumps(json.loads(entry.value) | metadata)
    onnx.save(model, path)
    return path


def test_the_map_adds_up_to_the_logits(
    explainer: Explainer, drawn_run: Path, drawn_pets: Path
) -> None:
    """The mean of what each place speaks for a class is the logit, but for the head's bias."""
    classifier = explainer.classifier
    pixels = np.stack([classifier.pixels(photo) for photo in sorted(drawn_pets.glob("*/*"))[::10]])
    activations = classifier.info.activations
    assert activations is not None
    _, _, maps, weight = classifier.run_for(pixels, (activations, HEAD_WEIGHT))
    network = load_checkpoint(drawn_run / "checkpoint.safetensors").network
    with torch.inference_mode():
        logits = network.head(network.extractor(torch.from_numpy(pixels))) - network.head.bias
    evidence = np.einsum("nchw,kc->nkhw", maps, weight).mean(axis=(2, 3))
    np.testing.assert_allclose(evidence, logits.numpy(), atol=1e-3)


def test_explaining_predicts_what_predict_predicts(explainer: Explainer, drawn_pets: Path) -> None:
    photo = sorted(drawn_pets.glob("*/*"))[0]
    explanation = explainer.explain(photo)
    assert explanation.prediction == Classifier(
        explainer.classifier._session, explainer.classifier.info
    ).predict(photo)
    assert explanation.heat.min() >= 0
    assert explanation.heat.max() == 1


def test_it_looks_at_the_pet(catsdogs: Path) -> None:
    """A pet in one half of a grey picture draws the heat to that half."""
    shipped = Explainer.load(Path(__file__).parents[2] / "models" / "catsdogs.onnx")
    for name in ("cats/cat.4001.jpg", "dogs/dog.4006.jpg", "cats/cat.4003.jpg"):
        pet = Image.open(catsdogs / "test" / name).convert("RGB").resize((224, 224))
        for left in (0, 224):
            canvas = Image.new("RGB", (448, 448), "grey")
            canvas.paste(pet, (left, 112))
            heat = shipped.explain(canvas).heat
            columns = heat.shape[1]
            share = heat[:, : columns // 2].sum() / (heat.sum() - heat[:, columns // 2].sum())
            assert (share > 0.7) == (left == 0), (name, left, share)


def test_channels_may_come_last() -> None:
    generator = np.random.default_rng(0)
    maps = generator.random((5, 3, 3), dtype=np.float32)
    weight = generator.normal(size=(2, 5)).astype(np.float32)
    first = class_activation_map(maps, weight, 1)
    np.testing.assert_allclose(class_activation_map(maps.transpose(1, 2, 0), weight, 1), first)


def test_activations_that_do_not_fit_the_head_are_refused() -> None:
    with pytest.raises(ModelError, match="its head takes 6"):
        class_activation_map(np.zeros((5, 3, 3), np.float32), np.zeros((2, 6), np.float32), 0)


def test_the_overlay_covers_what_the_network_saw_and_darkens_the_rest() -> None:
    image = Image.new("RGB", (400, 200), (100, 100, 100))
    resize = Resize(200, 100, "bilinear")
    drawn = np.asarray(draw_heat(image, np.ones((7, 7), np.float32), resize))
    left, top, right, bottom = (round(edge) for edge in window_box(image.size, resize))
    assert (right - left, bottom - top) == (100, 100)
    assert drawn.shape == (200, 400, 3)
    assert tuple(drawn[0, 0]) == (45, 45, 45)
    assert drawn[100, 200, 0] > 200
    plain = np.asarray(draw_heat(image, np.zeros((7, 7), np.float32), resize))
    assert tuple(plain[100, 200]) == (100, 100, 100)


@pytest.mark.parametrize("size", [(3000, 40), (1, 1), (37, 3600), (5000, 4000)])
def test_photos_of_any_shape_are_drawn(explainer: Explainer, size: tuple[int, int]) -> None:
    overlay = explainer.explain(Image.new("RGB", size, "red")).overlay
    assert max(overlay.size) == min(1024, max(size))


def test_metadata_that_name_no_map_are_refused(drawn_run: Path, tmp_path: Path) -> None:
    for name in ("nowhere", "head.bias", "probabilities"):
        lying = changed(drawn_run, tmp_path / "lying.onnx", activations=name)
        assert Classifier.load(lying).class_names == ("cats", "dogs")
        with pytest.raises(ModelError, match=r"lying\.onnx|its activations|its outputs"):
            Explainer.load(lying).explain(Image.new("RGB", (64, 64)))


@pytest.mark.parametrize(
    ("activations", "weight"),
    [
        (np.zeros((1, 3, 4, 4)), np.zeros(3)),
        (np.zeros((1, 3, 4, 4)), np.zeros((1, 3))),
        (np.zeros((1, 3, 4, 4)), np.zeros((2, 3, 1))),
        (np.zeros((1, 3, 4, 4)), np.full((2, 3), 3e38)),
        (np.zeros((1, 3, 4, 4)), np.array([["a", "b", "c"]] * 2, object)),
        (np.zeros((1, 3, 0, 0)), np.zeros((2, 3))),
        (np.zeros((0, 3, 4, 4)), np.zeros((2, 3))),
        (np.zeros(()), np.zeros((2, 3))),
        (np.full((1, 3, 4, 4), np.nan), np.ones((2, 3))),
    ],
    ids=["1-D", "a class", "3-D", "too large", "text", "no place", "no photo", "0-D", "nan"],
)
@pytest.mark.attack("Model files")
def test_maps_of_a_strangers_file_are_refused_where_they_cannot_be(
    activations: np.ndarray, weight: np.ndarray
) -> None:
    model = toy_model(replace(INFO, activations="maps").to_json())
    for name, values in (("maps", activations), (HEAD_WEIGHT, weight)):
        kept = values if values.dtype == object else values.astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(kept, name))
    with pytest.raises(ModelError):
        Explainer.parse(model.SerializeToString()).explain(Image.new("RGB", (9, 9)))


@pytest.mark.attack("Model files")
def test_a_map_whose_name_is_no_text_is_refused() -> None:
    model = toy_model(replace(INFO, activations="\ud800").to_json())
    with pytest.raises(ModelError):
        Explainer.parse(model.SerializeToString())


def test_a_network_without_maps_says_so(drawn_run: Path, tmp_path: Path) -> None:
    without = changed(drawn_run, tmp_path / "without.onnx", activations=None)
    with pytest.raises(NoActivationMapsError, match="no class activation maps"):
        Explainer.load(without)


def test_a_damaged_photo_is_an_image_error(explainer: Explainer) -> None:
    with pytest.raises(ImageError, match="not an image"):
        explainer.explain(b"no photo")


def test_the_command_writes_a_picture_per_photo(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, tmp_path: Path
) -> None:
    first = sorted(drawn_pets.glob("*/*"))[0]
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / first.name
    twin.write_bytes(first.read_bytes())
    done = petclassify("explain", first, twin, "--model", drawn_run, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    names = {f"{first.stem}.png", f"{first.stem}-2.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for name in names:
        photo_of = twin if name.endswith("-2.png") else first
        assert f"{tmp_path / 'out' / name} of {photo_of}\n" in done.out
        with Image.open(tmp_path / "out" / name) as picture, Image.open(first) as photo:
            assert picture.size == photo.size


def test_a_picture_is_no_folder_for_pictures(
    petclassify: Run, drawn_run: Path, drawn_pets: Path
) -> None:
    first = sorted(drawn_pets.glob("*/*"))[0]
    done = petclassify("explain", first, "--model", drawn_run, "--out", "heat.png")
    assert done.code == ExitCode.USAGE
    assert "Name a folder" in done.err
    assert not Path("heat.png").exists()


def test_no_picture_is_lost_and_no_file_of_others(
    petclassify: Run, drawn_run: Path, drawn_pets: Path
) -> None:
    first = sorted(drawn_pets.glob("*/*"))[0]
    for name in ("a/x.png", "b/x.png", "c/x-2.png"):
        Path(name).parent.mkdir()
        Path(name).write_bytes(first.read_bytes())
    Path("out").mkdir()
    Path("out/x.png").write_text("mine")
    arguments = ("a/x.png", "b/x.png", "c/x-2.png", "--model", drawn_run, "--out", "out")
    expected = {"x.png", "x-2.png", "x-3.png", "x-2-2.png"}
    for _ in range(2):  # its own it replaces
        assert petclassify("explain", *arguments).code == 0
        assert {path.name for path in Path("out").iterdir()} == expected
    assert Path("out/x.png").read_text() == "mine"


def test_a_bad_photo_does_not_stop_the_others(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, tmp_path: Path
) -> None:
    good = sorted(drawn_pets.glob("*/*"))[0]
    (tmp_path / "bad.jpg").write_bytes(b"")
    done = petclassify("explain", tmp_path / "bad.jpg", good, "--model", drawn_run)
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    assert "bad.jpg: the file is empty" in done.out
    assert "1 of 2 images failed" in done.err
    assert [path.name for path in Path("explained").iterdir()] == [f"{good.stem}.png"]


def test_photos_are_never_replaced(petclassify: Run, drawn_run: Path, make_photos) -> None:
    (photo,) = make_photos(Path("photos").resolve(), count=1)
    before = photo.read_bytes()
    done = petclassify("explain", photo, "--model", drawn_run, "--out", photo.parent)
    assert done.code == ExitCode.USAGE
    assert "Name another" in done.err
    assert photo.read_bytes() == before


def test_pictures_never_come_among_the_photos_of_a_folder(
    petclassify: Run, drawn_run: Path, make_photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(Path("holiday"), count=2)
    monkeypatch.chdir("holiday")
    done = petclassify("explain", ".", "--model", drawn_run)
    assert done.code == ExitCode.USAGE
    assert "--out explained lies in ., among the photos to explain" in done.err
    assert not Path("explained").exists()


def test_without_maps_and_checkpoint_the_way_out_is_named(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, tmp_path: Path
) -> None:
    without = changed(drawn_run, tmp_path / "without.onnx", activations=None)
    photo = sorted(drawn_pets.glob("*/*"))[0]
    done = petclassify("explain", photo, "--model", without)
    assert done.code == ExitCode.MODEL
    assert "Give the run folder with --model" in done.err


def test_of_a_large_photo_no_second_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    photo, heat = Image.new("RGB", (4000, 3000)), np.zeros((7, 7), np.float32)
    copied: list[tuple[int, int]] = []
    copy = Image.Image.copy
    monkeypatch.setattr(
        Image.Image, "copy", lambda image: (copied.append(image.size), copy(image))[1]
    )
    assert draw_heat(photo, heat, Resize(256, 224, "bicubic")).size == (1024, 768)
    assert (4000, 3000) not in copied
    assert draw_heat(photo.resize((40, 30)), heat, Resize(256, 224, "bicubic")).size == (40, 30)


@pytest.mark.attack("Surroundings")
def test_a_link_to_itself_is_that_photos_error_and_a_pipe_is_not_waited_for(
    petclassify: Run, make_photos
) -> None:
    make_photos(Path("photos"), 1)
    Path("photos/loop.png").symlink_to("loop.png")
    Path("out").mkdir()
    os.mkfifo("out/000.png")
    done = petclassify("explain", "photos", "--model", SHIPPED, "--out", "out")
    assert done.code == ExitCode.SOME_IMAGES_FAILED, done.err
    assert "photos/loop.png: cannot be read: too many levels of symbolic links" in done.out
    assert sorted(path.name for path in Path("out").iterdir()) == ["000-2.png", "000.png"]
