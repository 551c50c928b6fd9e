"""Disks that are full, read-only or gone, files that want to harm, two commands at once."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from safetensors.numpy import load_file, save_file

from petclassify import Classifier
from petclassify.config import FitConfig, TrainConfig
from petclassify.errors import EnvironmentFault, ExitCode, ModelError
from petclassify.images.drawn_pets import draw_pets
from petclassify.learn.backbones.backbone import Backbone, load_backbone
from petclassify.learn.backbones.state_dicts import read_state_dict
from petclassify.learn.frozen.feature_cache import FeatureCache
from petclassify.learn.network import METADATA_KEY as CHECKPOINT_KEY
from petclassify.learn.network import load_checkpoint
from petclassify.learn.preflight import check_request
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.train import train
from petclassify.learn.tuning.fit_state import METADATA_KEY, load_state
from tests.conftest import REPOSITORY, SMALL_DISK_BYTES, Outcome
from tests.test_kills import require_whole

Run = Callable[..., Outcome]
SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"
LENET = ("--backbone", "zoo/lenet5", "--image-size", "32", "--epochs", "1", "--batch-size", "8")


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "pets"
    draw_pets(folder, count=24, seed=0)
    return folder


@pytest.fixture(scope="module")
def lenet_run(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Path:
    """A finished run. Read it only."""
    folder = tmp_path_factory.mktemp("lenet")
    fit = FitConfig("all", epochs=1, batch_size=8)
    out, cache = folder / "run", folder / "cache"
    config = TrainConfig(pets, "zoo/lenet5", "none", 32, out=out, cache=cache, fit=fit)
    assert train(config, check_request(config)) is not None
    return out


def started(folder: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "petclassify", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def read_only_pets(pets: Path, tmp_path: Path) -> Iterator[Path]:
    """The same pictures on a disk that takes no writes."""
    place = tmp_path / "read-only"
    place.mkdir()
    for mount in (["--bind", str(pets), str(place)], ["-o", "remount,bind,ro", str(place)]):
        if subprocess.run(["mount", *mount], check=False, capture_output=True).returncode:
            pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> None:
    (disk / "filler").write_bytes(bytes(SMALL_DISK_BYTES - 8 * 4096))


def require_full(done: Outcome) -> None:
    assert done.code == ExitCode.ENVIRONMENT
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "full" in line


@pytest.mark.attack("Disks")
def test_a_disk_that_fills_up_under_training_leaves_whole_files(
    petclassify: Run, pets: Path, small_disk: Path, tmp_path: Path
) -> None:
    command = ("train", pets, *LENET, "--out", small_disk / "run", "--cache", tmp_path / "cache")
    require_full(petclassify(*command))
    require_whole(small_disk)
    assert list(small_disk.rglob(".*")) == []
    assert not (small_disk / "run" / "metrics.json").exists()


@pytest.mark.attack("Disks")
def test_a_disk_that_fills_up_under_the_report_keeps_the_old_one(
    petclassify: Run, pets: Path, small_disk: Path
) -> None:
    report = small_disk / "report.html"
    command = ("evaluate", pets, "--model", SHIPPED, "--report", report)
    fill(small_disk)
    require_full(petclassify(*command))
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


@pytest.mark.attack("Disks")
def test_a_disk_that_fills_up_under_the_data_check_leaves_nothing_half_written(
    petclassify: Run, pets: Path, small_disk: Path, tmp_path: Path
) -> None:
    fill(small_disk)
    out = small_disk / "check"
    require_full(
        petclassify(
            *("data", "check", pets, "--image-size", "64"),
            *("--out", out, "--cache", tmp_path / "cache"),
        )
    )
    require_whole(small_disk)
    assert list(small_disk.rglob(".*")) == []


@pytest.mark.attack("Disks")
def test_a_cache_on_a_full_disk_is_one_line(
    petclassify: Run, pets: Path, small_disk: Path, tmp_path: Path
) -> None:
    fill(small_disk)
    command = ("train", pets, "--image-size", "64", "--out", tmp_path / "run")
    done = petclassify(*command, "--cache", small_disk / "cache")
    require_full(done)
    assert "--cache DIR" in done.err


@pytest.mark.attack("Disks")
def test_a_read_only_data_set_is_enough(
    petclassify: Run, read_only_pets: Path, tmp_path: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in read_only_pets.rglob("*")}
    command = ("train", read_only_pets, *LENET)
    done = petclassify(*command, "--out", tmp_path / "run", "--cache", tmp_path / "cache")
    assert done.code == 0, done.err
    assert {p: p.stat().st_mtime_ns for p in read_only_pets.rglob("*")} == before


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("tf_efficientnet_lite0", "pretrained", 64)


@pytest.mark.parametrize("gone", ["folder", "file"])
@pytest.mark.attack("Disks")
def test_a_cache_that_vanishes_is_one_line_and_begins_anew(
    tmp_path: Path, backbone: Backbone, gone: str
) -> None:
    cache = FeatureCache.open(tmp_path / "cache", backbone).with_engine("one")
    features = np.ones((1, 2, backbone.num_features), np.float32)
    cache.put(["a"], features)
    if gone == "folder":
        shutil.rmtree(tmp_path / "cache")
    else:
        cache.path.unlink()
    with pytest.raises(EnvironmentFault, match="--cache DIR"):
        cache.put(["b"], features)
    again = FeatureCache.open(tmp_path / "cache", backbone).with_engine("one")
    assert again.known(["a", "b"], views=2) == set()
    again.put(["b"], features)
    np.testing.assert_array_equal(again.get(["b"], views=2), features)


class Canary:
    """Leaves a folder behind when it is unpickled."""

    def __init__(self, flown: Path) -> None:
        self.flown = flown

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.flown),)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("checkpoint.safetensors", ("export", "RUN")),
        ("model.onnx", ("predict", "PHOTO", "--model", "RUN")),
        ("resume/state.safetensors", ("train", "PETS", *LENET, "--out", "RUN", "--resume")),
        ("config.json", ("export", "RUN")),
        ("photos.csv", ("export", "RUN")),
    ],
)
@pytest.mark.attack("Weights and checkpoints")
def test_a_pickle_anywhere_in_a_run_folder_is_refused_and_does_not_run(
    petclassify: Run,
    lenet_run: Path,
    pets: Path,
    tmp_path: Path,
    name: str,
    command: tuple[str, ...],
) -> None:
    run, flown = tmp_path / "run", tmp_path / "flown"
    shutil.copytree(lenet_run, run)
    (run / name).write_bytes(pickle.dumps(Canary(flown)))
    named = {"RUN": str(run), "PETS": str(pets), "PHOTO": str(next(pets.rglob("*.jpg")))}
    done = petclassify(*[named.get(word, word) for word in command])
    assert done.code == ExitCode.MODEL, done.err
    assert str(run) in done.err
    assert not flown.exists()


def _reshape(prefix: str) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def spoil(_: dict[str, Any], tensors: dict[str, Any]) -> None:
        name = next(n for n, value in tensors.items() if n.startswith(prefix) and value.ndim)
        tensors[name] = tensors[name].flatten()[:1]

    return spoil


@pytest.mark.attack("Weights and checkpoints")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda about, _: about.update(arithmetic="fp8"),
        lambda about, _: about["epochs"][0].update(val_loss="low"),
        lambda about, _: about["epochs"][0].update(number=10**400),
        lambda about, _: about["epochs"][0].update(phase=5),
        lambda about, _: about.update(seconds=[10**400]),
        lambda _, tensors: tensors.pop("weights:head.bias"),
        _reshape("weights:"),
        _reshape("optimizer:"),
        lambda _, tensors: tensors.update({"optimizer:999.step": tensors["optimizer:0.step"]}),
    ],
    ids=[
        "arithmetic",
        "epoch",
        "huge",
        "phase",
        "seconds",
        "missing",
        "shape",
        "moment",
        "more moments",
    ],
)
def test_an_edited_state_is_refused(
    petclassify: Run, lenet_run: Path, pets: Path, tmp_path: Path, spoil: Callable[..., None]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(lenet_run, run)
    state = run / "resume" / "state.safetensors"
    tensors = load_file(state)
    with safetensors.safe_open(state, framework="np") as opened:
        about = json.loads(opened.metadata()[METADATA_KEY])
    spoil(about, tensors)
    save_file(tensors, state, {METADATA_KEY: json.dumps(about)})
    done = petclassify("train", pets, *LENET, "--out", run, "--resume")
    assert done.code == ExitCode.MODEL, done.err
    (line,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert "Train anew, without --resume" in line


DEEP = "[" * 100_000


@pytest.mark.attack("Weights and checkpoints")
def test_a_state_of_nothing_but_brackets_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_file({}, path, {METADATA_KEY: DEEP})
    with pytest.raises(ModelError, match="Train anew, without --resume"):
        load_state(path)


@pytest.mark.attack("Weights and checkpoints")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: DEEP,
        lambda about: about | {"known_threshold": 10**400},
        lambda about: about | {"class_names": []},
        lambda about: about | {"class_names": ["cats", "cats"]},
        lambda about: about | {"resize": about["resize"] | {"shorter_side": -1}},
        lambda about: about | {"resize": about["resize"] | {"shorter_side": None}},
        lambda about: about | {"resize": about["resize"] | {"crop": 0}},
        lambda about: about | {"resize": about["resize"] | {"interpolation": "x"}},
        lambda about: about | {"resize": about["resize"] | {"interpolation": ["nearest"]}},
    ],
    ids=["deep", "huge", "no class", "twice", "negative", "none", "zero", "filter", "list"],
)
def test_an_edited_checkpoint_is_refused(
    lenet_run: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], dict[str, Any] | str]
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with safetensors.safe_open(lenet_run / path.name, framework="np") as opened:
        about = json.loads(opened.metadata()[CHECKPOINT_KEY])
    spoilt = spoil(about)
    text = spoilt if isinstance(spoilt, str) else json.dumps(spoilt)
    save_file(load_file(lenet_run / path.name), path, {CHECKPOINT_KEY: text})
    with pytest.raises(ModelError, match=r"checkpoint\.safetensors"):
        load_checkpoint(path)


@pytest.mark.attack("Weights and checkpoints")
@pytest.mark.parametrize("text", ["{", "[]", "3", "null", "[" * 100_000, '{"asked": 3}', ""])
def test_a_config_that_is_none_is_refused(
    petclassify: Run, lenet_run: Path, pets: Path, tmp_path: Path, text: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(lenet_run, run)
    (run / "config.json").write_text(text)
    exported = petclassify("export", run)
    assert exported.code == ExitCode.MODEL, exported.err
    for more in (("--resume",), ()):
        done = petclassify("train", pets, *LENET, "--out", run, *more)
        assert done.code == ExitCode.USAGE, done.err
        assert done.err.count("\n") == 1


@pytest.mark.attack("Weights and checkpoints")
@pytest.mark.parametrize(
    "text",
    [
        "path,split,class_name,sha256\ncats/a.jpg,val\n",
        "path,split,class_name\ncats/a.jpg,val,cats\n",
    ],
    ids=["cut", "no digest"],
)
def test_a_table_that_was_cut_or_edited_is_refused(
    lenet_run: Path, tmp_path: Path, text: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(lenet_run, run)
    (run / "photos.csv").write_text(text)
    with pytest.raises(ModelError, match="the run did not finish"):
        RunFolder(run).classes_of("val")


def header(**entries: object) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def entry(shape: list[int], *offsets: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    "content",
    [
        header(a=entry([2**40], 0, 2**42)),
        header(a=entry([2**62, 4], 0, 4)) + bytes(4),
        header(a=entry([1], 0, 4), b=entry([1], 0, 4)) + bytes(4),
        header(a=entry([1], 4, 0)) + bytes(4),
        header(a=entry([1], -4, 0)) + bytes(4),
        header(a=entry([1], 0, 4)) + bytes(2**16),
        header(a=entry([1], 0, 4, dtype="PICKLE")) + bytes(4),
        header(a="../../etc/passwd"),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 200_000_000) + b"{" * 1000,
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
)
@pytest.mark.attack("Weights and checkpoints")
def test_a_header_that_lies_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        read_state_dict(path)


@pytest.mark.attack("Weights and checkpoints")
def test_what_is_not_of_the_network_is_refused_by_its_shape(
    petclassify: Run, pets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"conv1.weight": np.zeros((64, 3, 7, 7), np.float64)}, path)
    command = ("train", pets, "--backbone", "resnet18", "--weights", path)
    done = petclassify(*command, "--out", tmp_path / "run", "--cache", tmp_path / "cache")
    assert done.code == ExitCode.MODEL
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.attack("Disks")
def test_two_trainings_on_one_cache_at_once_both_end_well(pets: Path, tmp_path: Path) -> None:
    command = ("train", pets, "--image-size", "64", "--cache", tmp_path / "cache", "--out")
    both = [started(tmp_path, *command, tmp_path / name) for name in ("one", "other")]
    errors = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    for name in ("one", "other"):
        Classifier.load(tmp_path / name)
    for path in (tmp_path / "cache").rglob("*.sqlite"):
        with sqlite3.connect(path) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
@pytest.mark.attack("Disks")
def test_two_trainings_into_one_folder_at_once_are_told_apart(pets: Path, tmp_path: Path) -> None:
    command = ("train", pets, *LENET, "--cache", tmp_path / "cache", "--out", tmp_path / "run")
    both = [started(tmp_path, *command) for _ in range(2)]
    errors = "".join(process.communicate()[1] for process in both)
    assert sorted(process.returncode for process in both) == [0, ExitCode.USAGE], errors
    assert "another command is at work" in errors or "not empty" in errors
    require_whole(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.attack("Kills")
def test_ctrl_c_at_any_moment_of_a_command_is_never_a_traceback(tmp_path: Path) -> None:
    for milliseconds in range(0, 700, 20):
        running = started(REPOSITORY, "predict", tmp_path / "none.jpg", "--model", SHIPPED)
        try:
            running.wait(milliseconds / 1000)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)
        err = running.communicate()[1]
        # Until `main` begins, Python itself answers, with a traceback.
        if "Traceback" not in err:
            expected = (ExitCode.INTERRUPTED, ExitCode.SOME_IMAGES_FAILED, -signal.SIGINT)
            assert running.returncode in expected, (milliseconds, err)
        ours = re.search(r"__main__\.py\", line \d+, in main|bug in petclassify", err)
        assert ours is None, (milliseconds, err)
