from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from petclassify.errors import ExitCode
from petclassify.learn.claims import claimed
from petclassify.learn.train import train
from tests.conftest import Outcome

Run = Callable[..., Outcome]
OPTIONS = ("--epochs", 2, "--image-size", 40, "--out", "c")


@pytest.fixture
def compare(petclassify: Run, drawn_pets: Path) -> Run:
    def run(networks: str, *options: object) -> Outcome:
        return petclassify("compare", drawn_pets, "--networks", networks, *(options or OPTIONS))

    return run


def rows() -> dict[str, dict[str, str]]:
    with Path("c/comparison.csv").open() as stream:
        return {row["network"]: row for row in csv.DictReader(stream)}


def test_photos_that_a_list_leaves_out_are_in_no_network_s_split(
    compare: Run, drawn_pets: Path
) -> None:
    listed = [f"cats/{photo.name}" for photo in sorted((drawn_pets / "cats").iterdir())[:3]]
    Path("exclude.csv").write_text("\n".join(["path", *listed]))
    done = compare("zoo/lenet5", *OPTIONS, "--exclude", "exclude.csv")
    assert done.code == 0, done.err
    assert json.loads(Path("c/zoo-lenet5/data.json").read_text())["excluded_photos"] == listed
    changed = compare("zoo/lenet5", *OPTIONS)
    assert changed.code == ExitCode.USAGE
    assert "other photos (--exclude counts)" in changed.err


def test_each_network_has_a_row_in_the_table_the_files_and_the_picture(compare: Run) -> None:
    done = compare("zoo/lenet5, zoo/inception_mini,tf_efficientnet_lite0")
    assert done.code == 0, done.err
    found = rows()
    assert next(iter(found)) == "tf_efficientnet_lite0", "the best comes first"
    assert found["zoo/lenet5"]["image_size"] == "40"
    assert found["zoo/lenet5"]["epochs"] == "2"
    assert found["tf_efficientnet_lite0"]["image_size"] == "224"
    assert found["tf_efficientnet_lite0"]["weights"] == "pretrained"
    assert int(found["zoo/lenet5"]["parameters"]) == 61_706 + 2 * 150 - 8 * 85
    for name, row in found.items():
        assert name in done.out
        assert float(row["latency_ms"]) > 0
        assert float(row["seconds"]) > 0
        size = Path("c", name.replace("/", "-"), "model.onnx").stat().st_size
        assert int(row["size_bytes"]) == size
    kept = json.loads(Path("c/comparison.json").read_text())
    curves = {row["network"]: row["val_curve"] for row in kept["networks"]}
    assert len(curves["zoo/lenet5"]) == 2
    assert curves["tf_efficientnet_lite0"] == []
    with Image.open("c/comparison.png") as picture:
        assert picture.size[0] > 1000
    splits = [
        Path("c", name, "predictions.csv").read_text()
        for name in ("zoo-lenet5", "zoo-inception_mini")
    ]
    paths = [{line.rsplit(",", 4)[0] for line in text.splitlines()} for text in splits]
    assert paths[0] == paths[1], "the same split for all"


def test_refused_photos_are_told_once_and_bar_no_other_options(
    compare: Run, drawn_pets: Path, petclassify: Run, copied: Callable[[Path], Path]
) -> None:
    data = copied(drawn_pets)
    min((data / "cats").iterdir()).write_bytes(b"")
    command = ("compare", data, "--networks", "zoo/lenet5,zoo/inception_mini", *OPTIONS)
    refused = petclassify(*command)
    assert refused.code == ExitCode.DATA
    assert refused.err.count("cannot be read, more than 1 %") == 1
    assert "--exclude" in refused.err
    done = petclassify(*command, "--max-bad", 0.05)
    assert done.code == 0, done.err
    assert len(rows()) == 2
    assert "made with other max_bad" in petclassify(*command).err


def test_it_goes_on_where_it_was_stopped(compare: Run, caplog: pytest.LogCaptureFixture) -> None:
    assert compare("zoo/lenet5,zoo/inception_mini").code == 0
    before = rows()
    shutil.rmtree("c/zoo-inception_mini")
    for name in ("metrics.json", "model.onnx"):
        Path("c/zoo-lenet5", name).unlink()
    done = compare("zoo/lenet5,zoo/inception_mini")
    assert done.code == 0, done.err
    assert "resumed after epoch 2" in caplog.text
    after = rows()
    assert set(after) == {"zoo/lenet5", "zoo/inception_mini"}
    for name, row in before.items():
        assert after[name]["test_log_loss"] == row["test_log_loss"]


def test_a_finished_network_is_not_trained_again(compare: Run) -> None:
    assert compare("zoo/lenet5").code == 0
    stamp = Path("c/zoo-lenet5/checkpoint.safetensors").stat().st_mtime_ns
    assert compare("zoo/lenet5").code == 0
    assert Path("c/zoo-lenet5/checkpoint.safetensors").stat().st_mtime_ns == stamp


def test_a_network_that_fails_does_not_lose_the_others(compare: Run) -> None:
    done = compare("zoo/nin,zoo/lenet5")
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    assert "failed: zoo/nin: NiN needs images of at least 67 x 67 pixels" in done.out
    assert set(rows()) == {"zoo/lenet5"}
    kept = json.loads(Path("c/comparison.json").read_text())
    assert list(kept["failures"]) == ["zoo/nin"]


def test_an_edited_run_is_named_with_the_way_on(compare: Run) -> None:
    assert compare("zoo/lenet5").code == 0
    for content in ("{}", '{"val": {"per_class": 5}, "seconds": 7}'):
        Path("c/zoo-lenet5/metrics.json").write_text(content)
        done = compare("zoo/lenet5")
        assert done.code == ExitCode.MODEL, done.err
        assert "Remove the folder" in done.err.splitlines()[-1]


def test_a_run_without_its_model_file_is_named_with_the_way_on(compare: Run) -> None:
    assert compare("zoo/lenet5").code == 0
    Path("c/zoo-lenet5/model.onnx").unlink()
    done = compare("zoo/lenet5")
    assert done.code == ExitCode.MODEL, done.err
    assert "Remove the folder" in done.err.splitlines()[-1]
    shutil.rmtree("c/zoo-lenet5")
    assert compare("zoo/lenet5").code == 0


def test_if_all_fail_the_command_fails_as_they_do(compare: Run) -> None:
    done = compare("zoo/nin")
    assert done.code == ExitCode.USAGE
    assert "at least 67 x 67 pixels" in done.err


def test_what_was_compared_before_stays(compare: Run) -> None:
    assert compare("zoo/lenet5").code == 0
    done = compare("zoo/inception_mini")
    assert done.code == 0, done.err
    assert set(rows()) == {"zoo/lenet5", "zoo/inception_mini"}


def test_a_folder_with_other_things_in_it_is_left_alone(compare: Run) -> None:
    Path("c").mkdir()
    Path("c/notes.txt").write_text("mine")
    assert compare("zoo/lenet5").code == ExitCode.USAGE
    assert [path.name for path in Path("c").iterdir()] == ["notes.txt"]
    for content in ("[]", "{}", "no json", '{"asked": {}, "networks": 5}'):
        Path("c/comparison.json").write_text(content)
        done = compare("zoo/lenet5")
        assert done.code == ExitCode.USAGE
        assert len(done.err.splitlines()) == 1


@pytest.mark.attack("Disks")
def test_a_second_command_is_refused_while_the_first_is_at_work(compare: Run) -> None:
    Path("c").mkdir()
    with claimed(Path("c/.lock")):
        done = compare("zoo/lenet5")
    assert done.code == ExitCode.USAGE
    assert done.err.startswith("error: c: another command is at work there")
    assert list(Path("c").iterdir()) == []


@pytest.mark.attack("Kills")
def test_what_a_kill_at_its_first_write_leaves_bars_nothing(compare: Run) -> None:
    Path("c").mkdir()
    Path("c/.abcd1234.tmp").write_text("{")
    Path("c/.lock").write_text("")
    assert compare("zoo/lenet5").code == 0
    assert not list(Path("c").glob(".*"))


def test_a_file_in_place_of_the_folder_is_one_line(compare: Run) -> None:
    Path("c").write_text("mine")
    done = compare("zoo/lenet5")
    assert done.code == ExitCode.ENVIRONMENT
    assert done.err == "error: c: cannot be written (File exists). Choose another folder\n"
    assert Path("c").read_text() == "mine"


def test_a_folder_inside_the_data_set_is_refused_before_anything_is_written(
    petclassify: Run, make_photos, tmp_path: Path
) -> None:
    for name in ("cats", "dogs"):
        make_photos(tmp_path / "pets" / name)
    before = sorted(tmp_path.rglob("*"))
    inside = tmp_path / "pets" / "compared"
    done = petclassify("compare", tmp_path / "pets", "--networks", "zoo/lenet5", "--out", inside)
    assert done.code == ExitCode.USAGE
    assert "lies in the data set" in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_without_a_test_split_val_is_compared(
    petclassify: Run, drawn_pets: Path, tmp_path: Path
) -> None:
    for number, photo in enumerate(sorted(drawn_pets.glob("*/*"))):
        split = "val" if number % 4 == 0 else "train"
        place = tmp_path / "data" / split / photo.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, place)
    done = petclassify("compare", tmp_path / "data", "--networks", "zoo/lenet5", *OPTIONS)
    assert done.code == 0, done.err
    assert "val acc." in done.out
    assert rows()["zoo/lenet5"]["test_accuracy"] == ""


def test_several_processes_are_refused(compare: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert compare("zoo/lenet5").code == ExitCode.USAGE


def test_minutes_in_place_of_epochs(compare: Run) -> None:
    done = compare("zoo/lenet5", "--minutes", 0.02, "--image-size", 32, "--out", "c")
    assert done.code == 0, done.err
    row = rows()["zoo/lenet5"]
    assert 1 <= int(row["epochs"]) < 100
    assert float(row["seconds"]) < 30


@pytest.mark.parametrize(
    ("networks", "options", "finding"),
    [
        ("zoo/lenet6", (), "did you mean zoo/lenet5"),
        (" , ", (), "--networks names none"),
        ("zoo/lenet5", ("--epochs", 1, "--minutes", 1), "are two budgets"),
        ("zoo/lenet5", ("--minutes", "nan"), "needs a number"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    compare: Run, networks: str, options: tuple[object, ...], finding: str
) -> None:
    done = compare(networks, *options)
    assert done.code == ExitCode.USAGE
    assert finding in done.err
    assert len(done.err.splitlines()) == 1
    assert not Path("c").exists()


def test_other_options_need_another_folder(compare: Run) -> None:
    assert compare("zoo/lenet5").code == 0
    done = compare("zoo/lenet5", "--epochs", 3, "--image-size", 40, "--out", "c")
    assert done.code == ExitCode.USAGE
    assert "made with other epochs" in done.err


def test_other_photos_need_another_folder(
    drawn_pets: Path, copied: Callable[[Path], Path], petclassify: Callable
) -> None:
    pets = copied(drawn_pets)
    options = ("--networks", "zoo/lenet5", "--epochs", 1, "--image-size", 32, "--out", "d")
    assert petclassify("compare", pets, *options).code == 0
    photo = next((pets / "cats").iterdir())
    photo.with_name("new.jpg").write_bytes(photo.read_bytes() + b"more")
    done = petclassify("compare", pets, *options)
    assert done.code == ExitCode.USAGE
    assert "made with other photos" in done.err


def test_photos_that_change_between_two_networks_are_told_of(
    drawn_pets: Path,
    copied: Callable[[Path], Path],
    petclassify: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pets = copied(drawn_pets)

    def train_and_add_a_photo(*given: object) -> object:
        result = train(*given)
        photo = next((pets / "cats").iterdir())
        photo.with_name("new.jpg").write_bytes(photo.read_bytes() + b"more")
        return result

    monkeypatch.setattr("petclassify.learn.compare.train", train_and_add_a_photo)
    networks = "zoo/lenet5,zoo/inception_mini"
    done = petclassify("compare", pets, "--networks", networks, *OPTIONS)
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    assert "zoo/inception_mini: " in done.out
    assert "its photos are not those that this comparison began with" in done.out
    assert set(rows()) == {"zoo/lenet5"}
