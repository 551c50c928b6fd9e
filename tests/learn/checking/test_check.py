from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from petclassify.errors import ExitCode
from petclassify.images.walk import walk_images
from tests.conftest import Outcome

Run = Callable[..., Outcome]


@pytest.fixture
def spoilt(copied: Callable[[Path], Path], drawn_pets: Path) -> Path:
    """Drawn pets with one of every fault."""
    data = copied(drawn_pets)
    cats, dogs = data / "cats", data / "dogs"
    (dogs / "dog-0001.jpg").rename(cats / "a-dog.jpg")
    shutil.copy(cats / "cat-0002.jpg", cats / "again.jpg")
    with Image.open(dogs / "dog-0005.jpg") as image:
        ImageOps.mirror(image).save(dogs / "mirrored\n<b>.jpg", quality=70)
    (dogs / "text.jpg").write_text("no picture")
    return data


def contents(folder: Path) -> dict[Path, str]:
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_the_check_finds_what_was_spoilt_and_changes_nothing(
    petclassify: Run, spoilt: Path, feature_cache: Path
) -> None:
    before = contents(spoilt)
    done = petclassify(
        *("data", "check", spoilt, "--cache", feature_cache, "--out", "found"),
        *("--write-exclude", "exclude.csv"),
    )
    assert done.code == ExitCode.DONE, done.err
    assert re.search("cats/a-dog.jpg +says cats, looks like dogs", done.out)
    assert contents(spoilt) == before
    assert {path.name for path in Path("found").iterdir()} == {"check.json", "check.html"}
    found = json.loads(Path("found/check.json").read_text())
    findings = found["findings"]
    assert found["photos"] == {"train": {"cats": 32, "dogs": 30}}
    assert findings["unreadable"][0]["name"] == "dogs/text.jpg"
    assert findings["labels"][0]["name"] == "cats/a-dog.jpg"
    assert {tuple(sorted(group["photos"])) for group in findings["copies"]} == {
        ("cats/again.jpg", "cats/cat-0002.jpg"),
        ("dogs/dog-0005.jpg", "dogs/mirrored\n<b>.jpg"),
    }
    page = Path("found/check.html").read_text()
    assert "mirrored\\n&lt;b&gt;.jpg" in page
    assert page.count("data:image/jpeg") >= 5
    with Path("exclude.csv").open(newline="") as stream:
        listed = {row["path"]: row["reason"] for row in csv.DictReader(stream)}
    assert listed["dogs/text.jpg"].startswith("unreadable")
    assert "copy of" in listed.get("cats/again.jpg", listed.get("cats/cat-0002.jpg"))
    assert "copy of" in listed.get("dogs/dog-0005.jpg", listed.get("dogs/mirrored\n<b>.jpg"))


def test_training_leaves_out_what_the_list_says_and_resume_sees_an_edited_one(
    petclassify: Run, drawn_pets: Path, feature_cache: Path
) -> None:
    left_out = [path.relative_to(drawn_pets) for path in list(walk_images(drawn_pets))[:3]]
    listed = Path("exclude.csv")
    listed.write_text("path,reason\n" + "".join(f"{path},test\n" for path in left_out))
    train = ["train", drawn_pets, "--cache", feature_cache, "--out", "run", "--exclude", listed]
    done = petclassify(*train)
    assert done.code == ExitCode.DONE, done.err
    data = json.loads(Path("run/data.json").read_text())
    assert data["excluded"] == 3
    assert data["excluded_photos"] == [str(path) for path in left_out]
    assert sum(sum(counts.values()) for counts in data["photos"].values()) == 57
    predicted = Path("run/predictions.csv").read_text()
    assert not any(str(path) in predicted for path in left_out)
    listed.write_text("path\n")
    again = petclassify(*train, "--resume")
    assert again.code == ExitCode.USAGE
    assert "--exclude" in again.err


def test_the_json_is_the_same_as_the_file(
    petclassify: Run, drawn_pets: Path, feature_cache: Path
) -> None:
    done = petclassify("data", "check", drawn_pets, "--cache", feature_cache, "--format", "json")
    printed = json.loads(done.out)
    folder = Path(f"{drawn_pets.name}-check")
    assert printed == json.loads((folder / "check.json").read_text())
    assert not any(one["sure"] for one in printed["findings"]["strays"])
    assert printed["findings"]["copies"] == []


def test_files_beside_the_two_of_the_check_stay(
    petclassify: Run, drawn_pets: Path, feature_cache: Path
) -> None:
    Path("found").mkdir()
    Path("found/mine.txt").write_text("mine")
    arguments = ("data", "check", drawn_pets, "--cache", feature_cache, "--out", "found")
    assert [petclassify(*arguments).code for _ in range(2)] == [0, 0]
    assert Path("found/mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["check.json", "check.html"])
@pytest.mark.attack("Disks")
def test_a_file_of_the_users_own_is_not_replaced(
    petclassify: Run, drawn_pets: Path, name: str
) -> None:
    Path("found").mkdir()
    Path("found", name).write_text("mine")
    done = petclassify("data", "check", drawn_pets, "--out", "found")
    assert done.code == ExitCode.USAGE
    assert f"found/{name}: is there" in done.err
    assert Path("found", name).read_text() == "mine"


def test_a_list_that_may_have_been_edited_is_not_replaced(
    petclassify: Run, drawn_pets: Path, feature_cache: Path
) -> None:
    Path("mine.csv").write_text("path,reason\ncats/a.jpg,mine\n")
    arguments = ("--cache", feature_cache, "--write-exclude", "mine.csv")
    done = petclassify("data", "check", drawn_pets, *arguments)
    assert done.code == ExitCode.USAGE
    assert "may have been edited" in done.err
    assert "mine" in Path("mine.csv").read_text()


def test_a_class_too_small_for_folds_leaves_labels_unjudged_and_says_so(
    petclassify: Run, tmp_path: Path, make_photos: Callable[..., list[Path]], feature_cache: Path
) -> None:
    make_photos(tmp_path / "few" / "cats", 5)
    (photo,) = make_photos(tmp_path / "few" / "dogs", 1, colour=9)
    shutil.copy(photo, photo.with_name("again.png"))
    done = petclassify("data", "check", tmp_path / "few", "--cache", feature_cache)
    assert done.code == ExitCode.DONE, done.err
    assert "labels were not judged: the class dogs has fewer than 2" in done.out
    assert "labels that are probably wrong" not in done.out


def test_so_few_that_none_can_be_unlike_the_others_is_said(
    petclassify: Run, tmp_path: Path, drawn_pets: Path, feature_cache: Path
) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "few" / name).mkdir(parents=True)
        for photo in sorted((drawn_pets / name).iterdir())[:5]:
            shutil.copy(photo, tmp_path / "few" / name)
    done = petclassify("data", "check", tmp_path / "few", "--cache", feature_cache)
    assert done.code == ExitCode.DONE, done.err
    assert "photos unlike the others were not looked for, since fewer than 50" in done.out
    assert "photos that look like neither" not in done.out


def test_a_set_that_training_would_refuse_is_still_checked(
    petclassify: Run, tmp_path: Path, feature_cache: Path
) -> None:
    for name in ("cats", "dogs"):
        folder = tmp_path / "broken" / name
        folder.mkdir(parents=True)
        for number in range(3):
            (folder / f"{number}.jpg").write_text("no picture")
    done = petclassify("data", "check", tmp_path / "broken", "--cache", feature_cache)
    assert done.code == ExitCode.DONE, done.err
    assert "files that cannot be read  6" in done.out


@pytest.mark.parametrize(
    "option", [["--out", "{}/x"], ["--out", "{}"], ["--write-exclude", "{}/cats/cat-0001.jpg"]]
)
def test_nothing_is_written_into_the_data_set(
    petclassify: Run, drawn_pets: Path, option: list[str]
) -> None:
    before = contents(drawn_pets)
    done = petclassify("data", "check", drawn_pets, *(one.format(drawn_pets) for one in option))
    assert done.code == ExitCode.USAGE
    assert "lies in the data set" in done.err
    assert contents(drawn_pets) == before


def test_real_photos_hold_a_dog_among_the_cats(
    petclassify: Run, catsdogs: Path, tmp_path: Path, feature_cache: Path
) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "some" / name).mkdir(parents=True)
        for path in sorted((catsdogs / "test" / name).iterdir())[60:110]:
            (tmp_path / "some" / name / path.name).symlink_to(path)
    assert (tmp_path / "some" / "cats" / "cat.4085.jpg").exists()
    done = petclassify(
        *("data", "check", tmp_path / "some", "--cache", feature_cache, "--format", "json")
    )
    labels = json.loads(done.out)["findings"]["labels"]
    assert labels[0]["name"] == "cats/cat.4085.jpg"
    assert labels[0]["sure"]
