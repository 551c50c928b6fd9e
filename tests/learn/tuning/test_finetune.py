"""Fine-tuning as `train` runs it: folders, resumed runs, several processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from lightning_fabric import Fabric
from PIL import Image
from safetensors.torch import load_file, save_file

from petclassify import Classifier
from petclassify.config import FitConfig, Resize, TrainConfig
from petclassify.errors import (
    DataError,
    DivergedError,
    EnvironmentFault,
    ModelError,
    UsageError,
)
from petclassify.learn.export.export_run import export_run
from petclassify.learn.preflight import check_request
from petclassify.learn.train import TrainResult
from petclassify.learn.tuning.measured import measured_once
from petclassify.learn.tuning.precision import ARITHMETIC, choose_arithmetic
from petclassify.learn.tuning.views import plain_views
from tests.conftest import Outcome
from tests.learn.conftest import BACKBONE

Fit = Callable[..., TrainResult]


def history(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def epochs_of(run: Path) -> list[dict[str, str]]:
    return [row for row in history(run) if row["phase"] != "head"]


def figures(run: Path) -> dict[str, object]:
    metrics = json.loads((run / "metrics.json").read_text())
    return {name: metrics[name] for name in ("val", "test")}


def network_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoint.safetensors")


def test_a_fine_tuned_run_ships_its_best_epoch(fit: Fit, drawn_pets: Path, tmp_path: Path) -> None:
    weights = tmp_path / "resnet18.safetensors"  # the smaller one would not beat its head
    torch.manual_seed(0)
    save_file(timm.create_model("resnet18", num_classes=2).state_dict(), weights)
    levers = {"unfreeze": "all", "epochs": 3, "lr": 1e-3}
    run = fit(backbone="resnet18", weights=str(weights), **levers).run
    told = json.loads((run / "config.json").read_text())["fine_tuning"]
    assert told["ships"] is True
    best = told["best_epoch"]
    rows = epochs_of(run)
    losses = [float(row["val_loss"]) for row in rows]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert losses.index(min(losses)) + 1 == best
    trained, before = network_of(run), load_file(weights)
    assert not torch.equal(trained["extractor.network.conv1.weight"], before["conv1.weight"])
    assert float(figures(run)["val"]["accuracy"]) == pytest.approx(
        float(rows[best - 1]["val_accuracy"])
    )
    photo = next((drawn_pets / "cats").iterdir())
    assert Classifier.load(run).predict(photo).label in ("cats", "dogs")
    assert export_run(run).is_file()


def test_the_figures_are_those_of_what_ships_and_not_of_how_it_trained(
    fit: Fit, drawn_pets: Path
) -> None:
    run = fit(weights="none", unfreeze="all", epochs=3, precision="bf16").run
    assert json.loads((run / "config.json").read_text())["fine_tuning"]["best_epoch"]
    classifier = Classifier.load(run)
    with (run / "predictions.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            found = classifier.predict(drawn_pets / row["path"]).probabilities
            said = [float(row[f"probability_{name}"]) for name in found]
            assert said == pytest.approx([*found.values()], abs=1e-4)


def test_what_does_not_beat_the_head_does_not_ship(
    fit: Fit, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="petclassify")
    run = fit(lr=0.5, optimizer="sgd", momentum=0.0, epochs=1).run
    assert "did not beat the frozen head" in caplog.text
    trained, before = network_of(run), load_file(weights)
    assert torch.equal(
        trained["extractor.network.layer4.0.conv1.weight"], before["layer4.0.conv1.weight"]
    )
    told = json.loads((run / "config.json").read_text())["fine_tuning"]
    assert told["best_epoch"] is None
    assert told["ships"] is False
    assert "did not beat it and was thrown away" in (run / "report.html").read_text()


def test_a_network_that_keeps_its_biases_is_trained_whole(fit: Fit) -> None:
    """The race for the number format makes several steps before the first epoch does."""
    levers = {"unfreeze": "all", "epochs": 1, "image_size": None}
    run = fit(backbone="efficientvit_m0", weights="none", **levers).run
    assert (run / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("backbone", "lr"), [("zoo/lenet5", 1e3), ("zoo/alexnet", 1.0)], ids=["large", "all zero"]
)
def test_layers_that_training_spoils_are_told_as_divergence(
    fit: Fit, backbone: str, lr: float
) -> None:
    told = r"trained layers give features .* lower --lr"
    with pytest.raises(DivergedError, match=told):
        fit(backbone=backbone, weights="none", unfreeze="all", lr=lr, image_size=80)


def test_what_cannot_be_exported_is_refused_before_it_is_trained(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot export this network .* not accessible\). Use"):
        fit(backbone="halonet26t", weights="none", unfreeze="all", image_size=None)
    assert not (tmp_path / "run").exists()


def test_training_from_random_weights_needs_all_layers(drawn_pets: Path) -> None:
    config = TrainConfig(drawn_pets, BACKBONE, "none", fit=FitConfig(unfreeze="last"))
    with pytest.raises(UsageError, match="Add --unfreeze all"):
        check_request(config)


def test_training_from_random_weights_learns(fit: Fit) -> None:
    run = fit(weights="none", unfreeze="all", epochs=6).run
    assert {row["phase"] for row in history(run)} == {"all"}
    losses = [float(row["train_loss"]) for row in history(run)]
    assert losses[-1] < losses[0]


def test_a_checkpoint_of_ours_serves_as_weights(fit: Fit) -> None:
    first = fit(unfreeze="all", epochs=1, weights="none").run
    second = fit("second", weights=str(first / "checkpoint.safetensors"), unfreeze="none").run
    name = "extractor.network.layer3.0.conv1.weight"
    assert torch.equal(network_of(second)[name], network_of(first)[name])
    for name in ("extractor.mean", "extractor.std"):  # of its photos, not of ImageNet's
        assert torch.equal(network_of(second)[name], network_of(first)[name])


def test_resuming_a_finished_run_changes_nothing(fit: Fit) -> None:
    run = fit().run
    before = (run / "history.csv").read_bytes(), figures(run), (run / "model.onnx").read_bytes()
    fit(resume=True)
    assert before == (
        (run / "history.csv").read_bytes(),
        figures(run),
        (run / "model.onnx").read_bytes(),
    )


def test_resume_refuses_other_options_and_foreign_folders(fit: Fit, tmp_path: Path) -> None:
    fit(epochs=1)
    with pytest.raises(UsageError, match=r"started with other options \(--epochs was 1, is 2\)"):
        fit(epochs=2, resume=True)
    with pytest.raises(UsageError, match=r"\(--image-size was 64, is not given\)"):
        fit(epochs=1, image_size=None, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a run folder"):
        fit("mine", resume=True)


def test_resume_refuses_photos_that_changed(
    fit: Fit, drawn_pets: Path, copied: Callable[[Path], Path]
) -> None:
    data = copied(drawn_pets)
    run = fit(epochs=1, data=data).run
    before = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()}
    next((data / "cats").iterdir()).unlink()
    with pytest.raises(UsageError, match="its photos are not those"):
        fit(epochs=1, data=data, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()} == before


def test_a_finished_head_is_not_replaced_by_one_of_other_photos(
    fit: Fit, drawn_pets: Path, copied: Callable[[Path], Path]
) -> None:
    data = copied(drawn_pets)
    run = fit(unfreeze="none", data=data).run
    before = {path: path.read_bytes() for path in run.iterdir()}
    next((data / "cats").iterdir()).unlink()
    with pytest.raises(UsageError, match=r"its photos are not those of .*, which is finished"):
        fit(unfreeze="none", data=data, resume=True)
    assert {path: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_whose_files_are_being_replaced_is_not_finished(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(unfreeze="none")

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("petclassify.learn.train.save_checkpoint", end)
    with pytest.raises(KeyboardInterrupt):
        fit(unfreeze="none", resume=True)
    assert not (tmp_path / "run" / "metrics.json").exists()
    monkeypatch.undo()
    assert (fit(unfreeze="none", resume=True).run / "metrics.json").exists()


def test_resume_refuses_other_weights_of_the_same_name(
    fit: Fit, weights: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(weights.read_bytes())
    fit(epochs=1, weights=str(mine))
    save_file({name: value * 2 for name, value in load_file(weights).items()}, mine)
    with pytest.raises(UsageError, match=r"other options \(--weights was \S+ \(SHA-256"):
        fit(epochs=1, weights=str(mine), resume=True)


def test_processes_that_found_other_photos_do_not_learn_together(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fabric, "broadcast", lambda _, given: "0" if given else given)
    with pytest.raises(DataError, match="changed while the processes began"):
        fit(epochs=1)


def test_levers_without_open_layers_are_refused(fit: Fit) -> None:
    with pytest.raises(UsageError, match="Add --unfreeze"):
        fit(unfreeze="none", epochs=7)


def test_what_a_kill_left_half_written_is_cleared(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".abcd_123.tmp").write_bytes(b"half")
    assert not list(fit(resume=True).run.rglob("*.tmp"))


def test_the_preview_writes_nothing_into_the_data_set(
    petclassify: Callable[..., Outcome], drawn_pets: Path
) -> None:
    photo = next((drawn_pets / "cats").iterdir())
    before = photo.read_bytes()
    assert petclassify("data", "preview", drawn_pets, "--out", photo).code == 2
    assert photo.read_bytes() == before
    new = photo.with_name("new.png")
    assert petclassify("data", "preview", drawn_pets, "--out", new).code == 2
    assert not new.exists()


def test_resume_of_what_never_began_begins(fit: Fit) -> None:
    assert len(epochs_of(fit(resume=True).run)) == 2


def test_tensorboard_sees_every_epoch(fit: Fit) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = fit(tensorboard=True).run
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("loss/val")] == [1, 2]
    assert events.Scalars("loss/val")[1].value == pytest.approx(
        float(epochs_of(run)[1]["val_loss"])
    )


def test_a_diverged_run_ends_with_its_own_exit_code(
    petclassify: Callable[..., Outcome],
    drawn_pets: Path,
    weights: Path,
    feature_cache: Path,
    tmp_path: Path,
) -> None:
    levers = ["--lr", "1e30", "--optimizer", "sgd", "--momentum", "0", "--warmup-epochs", "0"]
    asked = command(drawn_pets, weights, feature_cache, tmp_path / "run", *levers)
    done = petclassify(*asked[2:])
    assert done.code == 7
    assert done.err.splitlines()[-1].startswith("error: training diverged: the loss is")
    assert "is kept" not in done.err  # of the first epoch there is nothing


def test_a_device_that_is_not_here_is_refused(fit: Fit) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(EnvironmentFault, match="--device cuda cannot be had"):
        fit(device="cuda")


def test_a_photo_that_vanishes_during_the_fit_is_named(tmp_path: Path) -> None:
    read = plain_views([tmp_path / "gone.jpg"], Resize(64, 64, "bilinear"))
    with pytest.raises(DataError, match=r"gone\.jpg.*train with --resume, compare when repeated"):
        read(0)


def test_what_was_measured_once_stands(tmp_path: Path) -> None:
    answers = iter(["first", "second", "third"])
    for _ in range(2):
        assert measured_once(tmp_path, "which", lambda: next(answers)) == "first"
    assert measured_once(tmp_path, "another", lambda: next(answers)) == "second"
    (tmp_path / "measured.json").write_text("damaged")
    assert measured_once(tmp_path, "which", lambda: next(answers)) == "third"


def test_the_arithmetic_asked_for_is_taken() -> None:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    )
    inputs = torch.randn(4, 3, 8, 8)
    assert choose_arithmetic("bf16", module, inputs).fabric == "bf16-mixed"
    assert choose_arithmetic("fp32", module, inputs).fabric == "32-true"
    assert choose_arithmetic("auto", module, inputs).name in ARITHMETIC
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.attack("Disks")
def test_the_preview_replaces_its_own_picture_and_none_of_the_users(
    petclassify: Callable[..., Outcome], drawn_pets: Path
) -> None:
    command = ("data", "preview", drawn_pets, "--image-size", "32")
    assert [petclassify(*command).code for _ in range(2)] == [0, 0]
    Image.new("RGB", (8, 8)).save("preview.png")
    before = Path("preview.png").read_bytes()
    done = petclassify(*command)
    assert done.code == 2
    assert "preview.png: is there" in done.err
    assert Path("preview.png").read_bytes() == before


def test_the_preview_shows_plain_and_changed_photos(
    petclassify: Callable[..., Outcome], drawn_pets: Path
) -> None:
    assert petclassify("data", "preview", drawn_pets, "--image-size", "96").code == 0
    plain = petclassify(
        *("data", "preview", drawn_pets, "--image-size", "96", "--augment", "none"),
        *("--out", "plain.png"),
    )
    assert plain.code == 0
    changed, unchanged = (np.asarray(Image.open(n)) for n in ("preview.png", "plain.png"))
    assert changed.shape == unchanged.shape
    assert np.abs(changed.astype(int) - unchanged).mean() > 2


OPTIONS = ["--image-size", "64", "--unfreeze", "last", "--batch-size", "16", "--precision", "fp32"]


def command(data: Path, weights: Path, cache: Path, out: Path, *more: str) -> list[str]:
    where = ["--weights", str(weights), "--cache", str(cache), "--out", str(out)]
    start = ["-m", "petclassify", "train", str(data), "--backbone", BACKBONE]
    return [*start, *OPTIONS, *where, *more]


def test_two_processes_give_the_validation_figures_of_one(
    drawn_pets: Path, weights: Path, feature_cache: Path, tmp_path: Path
) -> None:
    runs = [tmp_path / "one", tmp_path / "two"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    for run, start in zip(runs, ([sys.executable], launch), strict=True):
        asked = command(drawn_pets, weights, feature_cache, run, "--epochs", "2", "--lr", "1e-3")
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run([*start, *asked], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("epoch 1/2 (last") == 1
    for one, two in zip(*map(epochs_of, runs), strict=True):
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert float(two[name]) == pytest.approx(float(one[name]), abs=2e-3)


MANY_EPOCHS = ("--epochs", "8", "--patience", "0")


@pytest.fixture(scope="session")
def unbroken(
    tmp_path_factory: pytest.TempPathFactory, drawn_pets: Path, weights: Path, feature_cache: Path
) -> Path:
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    whole = command(drawn_pets, weights, feature_cache, out, *MANY_EPOCHS)
    subprocess.run([sys.executable, *whole], check=True, capture_output=True)
    return out


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_resumes_to_the_same_end(
    unbroken: Path,
    drawn_pets: Path,
    weights: Path,
    feature_cache: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    stopped = tmp_path / "stopped"
    asked = command(drawn_pets, weights, feature_cache, stopped, *MANY_EPOCHS)
    asked = [sys.executable, *asked]
    state = stopped / "resume" / "state.safetensors"
    process = subprocess.Popen(asked, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in said
    subprocess.run([*asked, "--resume"], check=True, capture_output=True)
    assert history(stopped) == history(unbroken)
    assert figures(stopped) == figures(unbroken)
