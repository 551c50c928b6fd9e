"""Networks of the zoo, through the same commands as pretrained ones."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from petclassify.config import FitConfig, TrainConfig
from petclassify.errors import ExitCode, ModelError, UsageError
from petclassify.images.photo import read_pixels
from petclassify.learn.backbones.backbone import load_backbone, random_backbone
from petclassify.learn.export.export import export_model
from petclassify.learn.head.calibration import Calibration
from petclassify.learn.head.familiarity import fit_familiarity
from petclassify.learn.head.logistic import Head
from petclassify.learn.network import assemble, load_checkpoint
from petclassify.learn.preflight import check_request
from petclassify.learn.train import train
from petclassify.learn.zoo import NETWORKS
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_file import parse_model
from tests.conftest import Outcome

SLOW = ["vgg11", "vgg13", "vgg16", "vgg19", *(name for name in NETWORKS if "densenet121_" in name)]
ALL = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NETWORKS]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, drawn_pets: Path) -> Path:
    """A short run of LeNet-5."""
    out = tmp_path_factory.mktemp("zoo") / "run"
    config = TrainConfig(
        drawn_pets,
        "zoo/lenet5",
        "none",
        out=out,
        cache=out.parent / "cache",
        fit=FitConfig("all", epochs=2),
    )
    assert train(config, check_request(config)) is not None
    return out


@pytest.mark.parametrize("name", ALL)
def test_every_network_passes_the_gate_at_an_odd_size(name: str, drawn_pets: Path) -> None:
    backbone = random_backbone(f"zoo/{name}", 75, seed=0)
    generator = np.random.default_rng(0)
    photos = sorted(drawn_pets.glob("*/*"))
    pixels = np.stack([read_pixels(photo, backbone.resize) for photo in photos[:4]])
    features = backbone.extractor(torch.from_numpy(pixels)).numpy()
    known = fit_familiarity(features, np.array([0, 0, 1, 1]), features, seed=0)
    head = Head(
        generator.normal(size=(2, backbone.num_features)).astype(np.float32),
        np.zeros(2, np.float32),
    )
    model = assemble(backbone, head, Calibration(1.0, 0.0), known, ("cats", "dogs"), {})
    classifier = Classifier(*parse_model(export_model(model, photos, [])))
    assert classifier.predict(photos[0]).label in ("cats", "dogs")


def test_a_run_has_the_files_of_any_other(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        *("config.json", "data.json", "history.csv", "curves.png", "resume", "report.html"),
        *("checkpoint.safetensors", "model.onnx", "metrics.json", "photos.csv", "predictions.csv"),
    }


def test_the_normalisation_is_that_of_the_training_photos(run: Path, drawn_pets: Path) -> None:
    rows = (run / "predictions.csv").read_text().splitlines()[1:]
    held_out = {row.split(",")[0] for row in rows}
    network = load_checkpoint(run / "checkpoint.safetensors")
    photos = [p for p in drawn_pets.glob("*/*") if str(p.relative_to(drawn_pets)) not in held_out]
    pixels = np.stack([read_pixels(photo, network.backbone.resize) for photo in photos]) / 255
    kept = Classifier.load(run / "model.onnx").info.training["normalisation"]
    np.testing.assert_allclose(kept["mean"], pixels.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(kept["std"], pixels.std(axis=(0, 1, 2)), atol=1e-5)
    assert network.network.extractor.normalisation == kept


def test_export_and_predict_work_as_for_any_other(
    run: Path, drawn_pets: Path, petclassify: Callable[..., Outcome]
) -> None:
    before = (run / "model.onnx").read_bytes()
    assert petclassify("export", run).code == 0
    assert (run / "model.onnx").stat().st_size == len(before)
    done = petclassify("predict", drawn_pets, "--model", run, "--format", "jsonl")
    assert done.code == 0
    assert len(done.out.splitlines()) == 60


def test_a_network_with_other_norms_is_not_taken_for_the_same(tmp_path: Path) -> None:
    trained = random_backbone("zoo/resnet18_layer", 32, seed=0).extractor.state_dict()
    path = tmp_path / "checkpoint.safetensors"
    about = {"petclassify": json.dumps({"backbone": "zoo/resnet18_layer"})}
    save_file({f"extractor.{name}": value for name, value in trained.items()}, path, about)
    load_backbone("zoo/resnet18_layer", str(path), 32)
    with pytest.raises(ModelError, match="a run with zoo/resnet18_group, but with zoo/resnet18_l"):
        load_backbone("zoo/resnet18_group", str(path), 32)


def test_a_checkpoint_of_the_zoo_is_a_backbone_too(
    run: Path, drawn_pets: Path, tmp_path: Path
) -> None:
    weights = run / "checkpoint.safetensors"
    loaded = load_backbone("zoo/lenet5", str(weights))
    kept = load_checkpoint(weights)
    for name, value in kept.network.extractor.state_dict().items():
        torch.testing.assert_close(loaded.extractor.state_dict()[name], value)
    config = TrainConfig(
        drawn_pets,
        "zoo/lenet5",
        str(weights),
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        fit=FitConfig("last", epochs=1),
    )
    assert train(config, check_request(config)) is not None
    assert (tmp_path / "run" / "history.csv").read_text().count("last: fc2") == 1
    with pytest.raises(ModelError, match="not a checkpoint of a run with zoo/resnet18"):
        load_backbone("zoo/resnet18", str(weights))


def test_the_command_line_trains_it_from_scratch_as_asked(
    drawn_pets: Path, petclassify: Callable[..., Outcome]
) -> None:
    done = petclassify("train", drawn_pets, "--backbone", "zoo/lenet5", "--epochs", 1, "--out", "r")
    assert done.code == 0, done.err
    config = json.loads(Path("r/config.json").read_text())
    assert (config["weights"], config["fit"]["unfreeze"]) == ("none", "all")


def test_the_line_that_is_named_next_can_be_copied(
    drawn_pets: Path, petclassify: Callable[..., Outcome]
) -> None:
    Path("my pets").symlink_to(drawn_pets)
    lenet = ("--backbone", "zoo/lenet5", "--epochs", 1, "--out", "run of my pets")
    last = petclassify("train", "my pets", *lenet).out.splitlines()[-1]
    label, name, *arguments = shlex.split(last)
    photo = str(next(drawn_pets.glob("cats/*")))
    line = [photo if argument == "IMAGE" else argument for argument in arguments]
    assert (label, name) == ("next", "petclassify")
    assert petclassify(*line).code == 0


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        (["--backbone", "zoo/lenet6"], "did you mean zoo/lenet5"),
        (["--backbone", "zoo/lenet5", "--weights", "pretrained"], "has no pretrained weights"),
        (["--backbone", "zoo/lenet5", "--unfreeze", "last"], "random layers learn nothing"),
        (["--backbone", "zoo/nin", "--image-size", "32"], "at least 67 x 67 pixels"),
    ],
)
def test_what_cannot_work_is_one_line(
    drawn_pets: Path, petclassify: Callable[..., Outcome], options: list[str], finding: str
) -> None:
    done = petclassify("train", drawn_pets, *options, "--out", "r")
    assert done.code == ExitCode.USAGE
    assert finding in done.err
    assert len(done.err.splitlines()) == 1


def test_minutes_are_not_for_gradual_unfreezing(drawn_pets: Path) -> None:
    with pytest.raises(UsageError, match="shares out epochs, not minutes"):
        check_request(TrainConfig(drawn_pets, fit=FitConfig("gradual", minutes=1)))
