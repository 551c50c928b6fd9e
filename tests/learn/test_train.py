from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from petclassify import Classifier
from petclassify.config import TrainConfig
from petclassify.errors import DataError, ModelError, UsageError
from petclassify.images.index import read_index
from petclassify.learn.claims import claimed
from petclassify.learn.export.export import check_parity
from petclassify.learn.export.export_run import export_run
from petclassify.learn.frozen import engines
from petclassify.learn.network import load_checkpoint
from petclassify.learn.preflight import check_request
from petclassify.learn.runs.run_place import LOCK
from petclassify.learn.train import _way_on_told, train
from petclassify.report.evaluate import evaluate

FILES = {
    "checkpoint.safetensors",
    "config.json",
    "curves.png",
    "report.html",
    "data.json",
    "history.csv",
    "metrics.json",
    "model.onnx",
    "photos.csv",
    "predictions.csv",
}


def run(config: TrainConfig):
    return train(config, check_request(config))


def predictions(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_run_folder_holds_exactly_its_files(drawn_run: Path) -> None:
    assert {path.name for path in drawn_run.iterdir()} == FILES
    with Image.open(drawn_run / "curves.png") as curves:
        assert curves.width > 800


def test_a_flat_folder_is_split_64_16_20_and_every_photo_is_judged_once(drawn_run: Path) -> None:
    rows = predictions(drawn_run)
    counts = {split: sum(row["split"] == split for row in rows) for split in ("train", "val")}
    assert counts == {"train": 38, "val": 10}
    assert len({row["path"] for row in rows}) == len(rows) == 60


def test_metrics_are_those_of_the_predictions(drawn_run: Path) -> None:
    metrics = json.loads((drawn_run / "metrics.json").read_text())
    for split in ("val", "test"):
        rows = [row for row in predictions(drawn_run) if row["split"] == split]
        right = np.mean([row["predicted"] == row["class_name"] for row in rows])
        losses = [-math.log(float(row[f"probability_{row['class_name']}"])) for row in rows]
        assert metrics[split]["count"] == len(rows)
        assert metrics[split]["accuracy"] == pytest.approx(right)
        assert metrics[split]["log_loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert metrics["seconds"]["total"] > 0


def test_the_report_tells_of_calibration_what_metrics_json_does(drawn_run: Path) -> None:
    before = json.loads((drawn_run / "metrics.json").read_text())["test"]["before_calibration"]
    page = (drawn_run / "report.html").read_text()
    (told,) = re.findall(r"before calibration</td><td[^>]*>([\d.]+)</td><td[^>]*>([\d.]+)", page)
    assert told == (f"{before['log_loss']:.4f}", f"{before['ece']:.4f}")


def test_the_report_says_what_its_figures_were_computed_by(drawn_run: Path) -> None:
    engine = json.loads((drawn_run / "config.json").read_text())["engine"]
    page = (drawn_run / "report.html").read_text()
    assert f"the features of training, by {engine}; the model file computes in fp32" in page


def test_the_configuration_says_what_was_done(drawn_run: Path) -> None:
    config = json.loads((drawn_run / "config.json").read_text())
    assert config["image_size"] == 224
    assert config["seed"] == 0
    assert config["head"]["fitted_on"] == "train and val"
    assert {"petclassify", "torch", "timm"} <= set(config["versions"])


def test_the_history_has_a_row_for_each_strength(drawn_run: Path) -> None:
    with (drawn_run / "history.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["phase"] for row in rows] == ["head"] * 6
    losses = [float(row["train_loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)


def test_the_model_file_predicts_what_training_measured(drawn_run: Path, drawn_pets: Path) -> None:
    classifier = Classifier.load(drawn_run)
    for row in [row for row in predictions(drawn_run) if row["split"] == "test"]:
        found = classifier.predict(drawn_pets / row["path"])
        assert found.probabilities[row["predicted"]] == pytest.approx(
            float(row[f"probability_{row['predicted']}"]), abs=0.05
        )


def test_the_model_file_is_low_enough_for_old_runtimes(drawn_run: Path) -> None:
    model = onnx.load(drawn_run / "model.onnx")
    assert model.ir_version <= 10
    assert model.opset_import[0].version <= 21
    facts = json.loads(model.metadata_props[0].value)["training"]
    assert "/" not in json.dumps(facts)


def test_export_makes_the_same_model_file_anew(
    drawn_run: Path, copied: Callable[[Path], Path]
) -> None:
    run_folder = copied(drawn_run)
    before = (run_folder / "model.onnx").read_bytes()
    (run_folder / "model.onnx").unlink()
    assert export_run(run_folder).read_bytes() == before


def test_export_waits_for_a_training_at_work(
    drawn_run: Path, copied: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    run_folder = copied(drawn_run)
    caplog.set_level("INFO")
    with ThreadPoolExecutor(1) as pool:
        with claimed(run_folder / LOCK):
            exporting = pool.submit(export_run, run_folder)
            while "waiting for another command" not in caplog.text:
                assert not exporting.done()
                time.sleep(0.01)
        assert exporting.result() == run_folder / "model.onnx"
    assert not (run_folder / LOCK).exists()


def test_export_follows_a_moved_data_set(
    drawn_run: Path, drawn_pets: Path, copied: Callable[[Path], Path], tmp_path: Path
) -> None:
    run_folder, moved = copied(drawn_run), copied(drawn_pets)
    config = json.loads((run_folder / "config.json").read_text())
    (run_folder / "config.json").write_text(json.dumps(config | {"data": str(tmp_path / "gone")}))
    with pytest.raises(DataError, match="give --data DIR to petclassify export"):
        export_run(run_folder)
    assert export_run(run_folder, moved).is_file()


def test_a_model_file_that_disagrees_is_refused(drawn_run: Path) -> None:
    model = load_checkpoint(drawn_run / "checkpoint.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)
    content = (drawn_run / "model.onnx").read_bytes()
    assert check_parity(model, content, pixels) < 1e-3
    spoilt = onnx.load_from_string(content)
    (bias,) = (t for t in spoilt.graph.initializer if t.name.endswith("head.bias"))
    values = onnx.numpy_helper.to_array(bias) + np.float32([0.1, -0.1])
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    with pytest.raises(ModelError, match="export refused"):
        check_parity(model, spoilt.SerializeToString(), pixels)


def test_a_list_of_photos_of_another_run_is_refused(
    drawn_run: Path, copied: Callable[[Path], Path]
) -> None:
    folder = copied(drawn_run)
    table = (folder / "photos.csv").read_text()
    (folder / "photos.csv").write_text(table.replace(",cats,", ",wolves,"))
    with pytest.raises(ModelError, match=r"is of another run than its checkpoint .*wolves"):
        export_run(folder)


def test_a_foreign_checkpoint_is_refused(tmp_path: Path, drawn_run: Path) -> None:
    content = (drawn_run / "checkpoint.safetensors").read_bytes()
    for name, spoilt in {"cut": content[:-100], "text": b"no", "empty": b""}.items():
        (tmp_path / name).write_bytes(spoilt)
        with pytest.raises(ModelError, match=name):
            load_checkpoint(tmp_path / name)
    with pytest.raises(ModelError, match="not a run folder"):
        export_run(tmp_path)


def test_a_second_run_computes_nothing(
    drawn_run: Path,
    drawn_pets: Path,
    feature_cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engines, "_builders", lambda *_: pytest.fail("an engine was built"))
    config = TrainConfig(drawn_pets, seed=1, out=tmp_path / "run", cache=feature_cache)
    second = run(config)
    assert (second.run / "model.onnx").is_file()
    first = {row["path"] for row in predictions(drawn_run) if row["split"] == "test"}
    other = {row["path"] for row in predictions(second.run) if row["split"] == "test"}
    assert first != other


def test_given_splits_are_kept(drawn_pets: Path, tmp_path: Path, feature_cache: Path) -> None:
    data = tmp_path / "data"
    for name in ("cats", "dogs"):
        photos = sorted((drawn_pets / name).iterdir())
        for split, chosen in (("train", photos[:10]), ("val", photos[10:15])):
            (data / split / name).mkdir(parents=True)
            for photo in chosen:
                (data / split / name / photo.name).symlink_to(photo)
    result = run(TrainConfig(data, out=tmp_path / "run", cache=feature_cache))
    assert set(result.metrics) == {"val"}
    assert result.metrics["val"].count == 10
    page = (result.run / "report.html").read_text()
    assert "each judged by weights that had not seen it" in page
    familiar = [float(one) for one in re.findall(r"familiarity ([\d.]+)", page)]
    assert min(familiar) < 0.999, "a val photo is held against prototypes without it"


def test_few_unreadable_photos_are_left_out_and_listed(
    drawn_pets: Path, copied: Callable[[Path], Path], tmp_path: Path, feature_cache: Path
) -> None:
    data = copied(drawn_pets)
    (data / "cats" / "empty.jpg").write_bytes(b"")
    (data / "dogs" / "text.jpg").write_bytes(b"woof")
    config = TrainConfig(data, out=tmp_path / "run", cache=feature_cache)
    with pytest.raises(DataError, match="at least 2 of 62 photos cannot be read"):
        run(config)
    listed = json.loads((tmp_path / "run" / "data.json").read_text())["unreadable"]
    assert {Path(entry["path"]).name for entry in listed} == {"empty.jpg", "text.jpg"}
    result = run(dataclasses.replace(config, max_bad=0.05, out=tmp_path / "second"))
    assert sum(1 for _ in predictions(result.run)) == 60


def test_a_photo_in_two_splits_is_listed_and_with_strict_refused(
    drawn_pets: Path, tmp_path: Path, feature_cache: Path
) -> None:
    data = tmp_path / "data"
    for name in ("cats", "dogs"):
        photos = sorted((drawn_pets / name).iterdir())[:8]
        for split, chosen in (("train", photos[:6]), ("test", photos[5:])):
            (data / split / name).mkdir(parents=True)
            for photo in chosen:
                (data / split / name / photo.name).write_bytes(photo.read_bytes())
    config = TrainConfig(data, out=tmp_path / "run", cache=feature_cache)
    result = run(config)
    copies = json.loads((result.run / "data.json").read_text())["copies"]
    assert [sorted(Path(p).parts[0] for p in same) for same in copies] == [["test", "train"]] * 2
    with pytest.raises(DataError, match=r"2 photo\(s\) lie in more than one split"):
        run(dataclasses.replace(config, strict=True, out=tmp_path / "strict"))


def test_one_photo_a_class_is_refused(
    tmp_path: Path, make_photos: Callable[..., list[Path]]
) -> None:
    make_photos(tmp_path / "data" / "cats", 1)
    make_photos(tmp_path / "data" / "dogs", 5, colour=9)
    with pytest.raises(DataError, match=r"the class cats has 1 distinct photo\(s\)"):
        run(TrainConfig(tmp_path / "data", out=tmp_path / "run"))


def test_a_set_without_a_train_folder_is_refused_by_what_it_has(
    tmp_path: Path, make_photos: Callable[..., list[Path]]
) -> None:
    for split in ("train_set", "test"):
        make_photos(tmp_path / "data" / split / "cats")
        make_photos(tmp_path / "data" / split / "dogs", colour=9)
    with pytest.raises(DataError, match=r"no folder is called train.* there are test, train_set"):
        run(TrainConfig(tmp_path / "data", out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_an_output_folder_in_use_is_refused_untouched(
    drawn_pets: Path, tmp_path: Path, feature_cache: Path
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        run(TrainConfig(drawn_pets, out=tmp_path, cache=feature_cache))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("given", [{"device": "cpu"}, {"precision": "bf16"}, {"tensorboard": True}])
def test_what_only_layers_that_train_need_is_refused_while_all_are_frozen(
    drawn_pets: Path, given: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match=f"no layer trains, which --{next(iter(given))} would"):
        check_request(TrainConfig(drawn_pets, **given))


def test_random_frozen_weights_are_refused(drawn_pets: Path) -> None:
    with pytest.raises(UsageError, match="random layers learn nothing"):
        check_request(TrainConfig(drawn_pets, backbone="resnet18", weights="none"))


def test_ten_real_photos_a_class_reach_96_percent(
    catsdogs: Path, tmp_path: Path, feature_cache: Path
) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "few" / "train" / name).mkdir(parents=True)
        for photo in sorted((catsdogs / "train" / name).iterdir())[:10]:
            (tmp_path / "few" / "train" / name / photo.name).symlink_to(photo)
    result = run(TrainConfig(tmp_path / "few", out=tmp_path / "run", cache=feature_cache))
    found = evaluate(read_index(catsdogs), result.run / "model.onnx")
    assert found.judged.metrics.count == 500
    assert found.judged.metrics.accuracy >= 0.96


@pytest.mark.parametrize("ending", [KeyboardInterrupt, DataError])
def test_only_whoever_stops_a_run_is_told_how_it_goes_on(
    drawn_pets: Path,
    tmp_path: Path,
    feature_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ending: type[BaseException],
) -> None:
    def end(*_: object) -> None:
        raise ending

    monkeypatch.setattr("petclassify.learn.train.save_checkpoint", end)
    caplog.set_level("INFO")
    with pytest.raises(ending):
        run(TrainConfig(drawn_pets, out=tmp_path / "run", cache=feature_cache))
    assert ("what is whole is kept" in caplog.text) == (ending is KeyboardInterrupt)


@pytest.mark.parametrize(
    ("given", "out", "shown"),
    [
        ("petclassify train pets", None, " --resume --out 'models/my pets'"),
        ("petclassify train pets --resume", None, " --out 'models/my pets'"),
        ("petclassify train pets --out run", Path("run"), " --resume"),
        ("petclassify train pets --out run --resume", Path("run"), ""),
        ("", Path("run"), "repeat the command"),
    ],
)
def test_who_stops_a_run_is_told_the_line_that_goes_on_with_it(
    caplog: pytest.LogCaptureFixture, given: str, out: Path | None, shown: str
) -> None:
    """With the folder, or after another run was begun that one would be meant."""
    caplog.set_level("INFO", logger="petclassify")
    config = TrainConfig(Path("pets"), out=out, resume="--resume" in given)
    with (
        pytest.raises(KeyboardInterrupt),
        _way_on_told(config, out or Path("models/my pets"), given),
    ):
        raise KeyboardInterrupt
    assert caplog.messages == [f"what is whole is kept; to go on: {given}{shown}"]
