from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from petclassify.errors import ExitCode
from petclassify.report.evaluate import judge
from tests.conftest import Outcome

Run = Callable[..., Outcome]


def test_classes_are_matched_by_name_not_by_position(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, tmp_path: Path
) -> None:
    plain = petclassify("evaluate", drawn_pets, "--model", drawn_run, "--format", "json")
    assert plain.code == 0
    figures = json.loads(plain.out)
    assert figures["count"] == 60
    assert figures["accuracy"] > 0.9
    swapped = tmp_path / "swapped"
    shutil.copytree(drawn_pets / "cats", swapped / "dogs")
    shutil.copytree(drawn_pets / "dogs", swapped / "cats")
    wrong = json.loads(
        petclassify("evaluate", swapped, "--model", drawn_run, "--format", "json").out
    )
    assert wrong["accuracy"] == pytest.approx(1 - figures["accuracy"])


def test_other_classes_are_refused_with_the_difference(
    petclassify: Run, drawn_run: Path, make_photos, tmp_path: Path
) -> None:
    for name in ("apples", "pears"):
        make_photos(tmp_path / "fruit" / name)
    done = petclassify("evaluate", tmp_path / "fruit", "--model", drawn_run)
    assert done.code == ExitCode.DATA
    assert "missing cats, dogs; not expected apples, pears" in done.err


def test_a_model_that_is_not_there_is_refused(petclassify: Run, drawn_pets: Path) -> None:
    assert petclassify("evaluate", drawn_pets, "--model", "none.onnx").code == ExitCode.MODEL


def test_unreadable_photos_are_named_and_the_others_judged(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, copied
) -> None:
    data = copied(drawn_pets)
    (data / "cats" / "bad.jpg").write_bytes(b"")
    done = petclassify("evaluate", data, "--model", drawn_run)
    assert done.code == ExitCode.SOME_IMAGES_FAILED
    assert "bad.jpg: the file is empty" in done.err
    assert "cats" in done.out


def test_copies_among_the_judged_photos_are_told_of(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, copied
) -> None:
    later = copied(drawn_pets)
    for number in range(3):
        shutil.copy(sorted((later / "cats").iterdir())[0], later / "cats" / f"again {number}.jpg")
    said = "3 of the judged photos are copies of others and count again"
    assert said in petclassify("evaluate", later, "--model", drawn_run).out
    assert said in Path("run-on-copy-of-pets.html").read_text()
    assert "are copies" not in petclassify("evaluate", drawn_pets, "--model", drawn_run).out


def test_each_model_and_folder_has_a_page_of_its_own(
    petclassify: Run, drawn_run: Path, drawn_pets: Path
) -> None:
    for model in (drawn_run, "catsdogs"):
        assert petclassify("evaluate", drawn_pets, "--model", model).code == 0
    pages = sorted(path.name for path in Path().glob("*.html"))
    assert pages == ["catsdogs-on-pets.html", "run-on-pets.html"]


def test_no_report_is_written_into_the_photos(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, copied, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = copied(drawn_pets)
    monkeypatch.chdir(data)
    done = petclassify("evaluate", ".", "--model", drawn_run)
    assert done.code == ExitCode.USAGE
    assert "run-on-copy-of-pets.html: lies in the data set" in done.err
    assert "another --report" in done.err
    assert not (data / "run-on-copy-of-pets.html").exists()


def test_the_test_split_is_judged(petclassify: Run, catsdogs: Path) -> None:
    done = petclassify("evaluate", catsdogs, "--format", "json")
    figures = json.loads(done.out)
    assert figures["count"] == 500
    assert figures["accuracy"] >= 0.99
    assert figures["log_loss"] <= 0.045


def test_without_a_test_split_a_folder_that_is_there_is_named(
    petclassify: Run, drawn_run: Path, make_photos, tmp_path: Path
) -> None:
    for name in ("cats", "dogs"):
        make_photos(tmp_path / "pets" / "Training" / name)
    done = petclassify("evaluate", tmp_path / "pets", "--model", drawn_run)
    assert done.code == ExitCode.DATA
    assert f"for example {tmp_path / 'pets' / 'Training'}\n" in done.err


def test_a_report_is_of_the_run_that_was_judged(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        shutil.copytree(drawn_run, Path("models", name))
    latest = Path("models/latest")
    latest.symlink_to("first")

    def judge_while_another_run_ends(*given: object) -> object:
        judged = judge(*given)
        latest.unlink()
        latest.symlink_to("second")
        return judged

    monkeypatch.setattr("petclassify.report.evaluate.judge", judge_while_another_run_ends)
    assert petclassify("evaluate", drawn_pets).code == 0
    assert "<h1>first on pets</h1>" in Path("first-on-pets.html").read_text()


def test_photos_that_the_model_learned_from_are_told_of(
    petclassify: Run, drawn_run: Path, drawn_pets: Path
) -> None:
    tested = sum(",test," in line for line in (drawn_run / "photos.csv").open())
    learned = len(list(drawn_pets.glob("*/*"))) - tested
    said = f"It learned from {learned} of these photos, the same files: the figures flatter."
    out = petclassify("evaluate", drawn_pets, "--model", drawn_run).out
    assert f"note    {said}" in out
    figures = petclassify("evaluate", drawn_pets, "--model", drawn_run, "--format", "json").out
    assert json.loads(figures)["notes"][0] == said
    assert "If the model learned" not in out
    page = Path("run-on-pets.html").read_text()
    assert f"60 photos, {learned} of which it learned from: the figures flatter." in page
    assert "95&nbsp;% confidence, for photos" not in page
    assert "true rate of mistakes" not in page
    assert "Not yet" in page


def test_photos_that_it_learned_from_are_known_by_their_content_wherever_they_lie(
    petclassify: Run, drawn_run: Path, tmp_path: Path
) -> None:
    drawn_pets = Path(json.loads((drawn_run / "config.json").read_text())["data"])
    with (drawn_run / "photos.csv").open(newline="") as stream:
        split_of = {row["path"]: row["split"] for row in csv.DictReader(stream)}
    for split in ("train", "test"):
        for place, (name, its_split) in enumerate(sorted(split_of.items())):
            if its_split == split:
                copy = tmp_path / split / Path(name).parent / f"{place}.jpg"
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(drawn_pets / name, copy)
    trained = sum(split == "train" for split in split_of.values())
    out = petclassify("evaluate", tmp_path / "train", "--model", drawn_run).out
    assert f"It learned from {trained} of these photos" in out
    out = petclassify("evaluate", tmp_path / "test", "--model", drawn_run).out
    assert "learned from none of these files" in out
    assert "none of them a file that it learned from" in Path("run-on-test.html").read_text()


def test_a_model_outside_its_run_cannot_tell_what_it_learned_from(
    petclassify: Run, drawn_run: Path, drawn_pets: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copy(drawn_run / "model.onnx", tmp_path / "pets.onnx"))
    out = petclassify("evaluate", drawn_pets, "--model", model).out
    assert "If the model learned from some of them, the figures flatter." in out
