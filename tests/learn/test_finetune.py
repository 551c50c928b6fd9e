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

import pytest
import torch
from safetensors.torch import load_file

from petclassify import Classifier
from petclassify.config import FitConfig, TrainConfig
from petclassify.errors import UsageError
from petclassify.learn.export import export_run
from petclassify.learn.preflight import check_request
from petclassify.learn.train import TrainResult
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


def test_a_fine_tuned_run_ships_its_best_epoch(fit: Fit, weights: Path, drawn_pets: Path) -> None:
    run = fit(unfreeze="all", epochs=3, lr=1e-3).run
    best = json.loads((run / "config.json").read_text())["fine_tuning"]["best_epoch"]
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
    assert json.loads((run / "config.json").read_text())["fine_tuning"]["best_epoch"] is None


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
    with pytest.raises(UsageError, match=r"started with other options \(fit\)"):
        fit(epochs=2, resume=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="not a run folder"):
        fit("mine", resume=True)


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
    [signal.SIGKILL, signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],
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
