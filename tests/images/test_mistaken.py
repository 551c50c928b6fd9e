from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from petclassify.errors import DataError, ImageError
from petclassify.images.index import read_index
from petclassify.images.mistaken import overlooked
from petclassify.images.photo import read_image

Make = Callable[..., list[Path]]


@pytest.fixture
def here(tmp_path: Path, make_photos: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data set `photos`."""
    make_photos(tmp_path / "photos" / "cats")
    make_photos(tmp_path / "photos" / "dogs", colour=9)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(path: str) -> str:
    with pytest.raises(DataError) as error:
        read_index(Path(path))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("Photos", "photos"), ("phtos", "photos"), ("fashon-mnist", "fashion-mnist")],
)
@pytest.mark.usefixtures("here")
def test_a_misspelt_name_is_answered_with_what_is_there(given: str, meant: str) -> None:
    assert f"{given}: does not exist; did you mean {meant}?" in refused(given)


@pytest.mark.usefixtures("here")
def test_nothing_near_names_the_layout() -> None:
    assert refused("zzz") == "zzz: does not exist. Expected a folder: DIR/<class>/<image>.jpg"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("photos.zip", "is an archive. Unpack it"),
        ("photos.tar.gz", "is an archive. Unpack it"),
        ("model.onnx", "is a model, not photos"),
        ("weights.pth", "is a model, not photos"),
        ("img.jpg", "is one image"),
        ("notes.txt", "is a file. Expected a folder"),
    ],
)
def test_a_file_is_named_for_what_it_is(here: Path, name: str, says: str) -> None:
    (here / name).write_bytes(b"x")
    assert f"{name}: {says}" in refused(name)


def test_a_run_folder_is_told_from_photos(here: Path) -> None:
    (here / "run").mkdir()
    for name in ("config.json", "model.onnx", "curves.png"):
        (here / "run" / name).write_bytes(b"{}")
    assert "run: is a run folder, not photos" in refused("run")


def test_the_data_set_some_levels_below_is_found(here: Path) -> None:
    (here / "unzipped" / "a" / "b").mkdir(parents=True)
    (here / "photos").rename(here / "unzipped" / "a" / "b" / "photos")
    assert "did you mean unzipped/a/b/photos?" in refused("unzipped")


def test_a_class_folder_names_the_one_above_it_from_within_too(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "if cats is a class, give what holds it, photos" in refused("photos/cats")
    monkeypatch.chdir(here / "photos" / "cats")
    assert "if cats is a class, give what holds it, .." in refused(".")


def test_folders_that_hold_folders_without_end_are_no_data_set(here: Path) -> None:
    deep = here / "deep"
    deep.mkdir()
    (deep / "loop").symlink_to(deep)
    assert "found 1 class folder(s), need at least 2" in refused("deep")


def test_a_folder_of_something_else_beside_a_data_set_does_not_hide_it(here: Path) -> None:
    (here / "photos-check").mkdir()
    said = refused(".")
    assert "photos-check: this class folder holds no images" in said
    assert "If you meant photos, which looks like a data set, give that" in said


def test_photos_of_kinds_that_are_not_read_are_counted(here: Path) -> None:
    for photo in (here / "photos" / "cats").iterdir():
        photo.rename(photo.with_suffix(".HEIC"))
    assert "holds no images, but 4 .heic file(s), which are not read" in refused("photos")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jpg", b"\0\0\0\x20ftypheic\0\0\0\0heicmif1", "a HEIC photo: convert it to JPEG"),
        ("a.NEF", b"raw raw raw raw ", ".nef is not read"),
        ("a.zip", b"PK\x03\x04 and so on ", "an archive: unpack it"),
        ("a.onnx", b"\x08\x07 and so on   ", "a model: give it with --model"),
    ],
)
def test_one_file_that_is_no_image_is_named_for_what_it_is(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError) as error:
        read_image(tmp_path / name)
    assert error.value.kind == "not_an_image"
    assert says in error.value.reason


def test_photos_that_nothing_is_done_with_are_told_of(here: Path) -> None:
    assert not list(overlooked(here / "photos"))
    photo = next((here / "photos" / "cats").iterdir()).name
    (here / "photos" / "cats" / "1.HEIC").touch()
    (here / "photos" / "dogs" / "2.cr2").touch()
    shutil.copy(here / "photos" / "cats" / photo, here / "photos" / photo)
    unread, loose = overlooked(here / "photos")
    assert "1 .heic, 1 .cr2 file(s), which are not read" in unread
    assert "1 image(s) beside the class folders" in loose


@pytest.mark.attack("Photos")
def test_photos_whose_names_are_none_of_images_are_told_of(here: Path) -> None:
    cats = here / "photos" / "cats"
    (cats / "000.png").rename(cats / "000")
    (cats / "001.png").rename(cats / "001.png?raw=1")
    (cats / "notes.txt").write_text("no image")
    (cats / ".thumbnails").mkdir()
    (cats / ".thumbnails" / "small").write_bytes((cats / "000").read_bytes())
    os.mkfifo(cats / "pipe")
    (said,) = overlooked(here / "photos")
    assert f"{here / 'photos'}: 2 image(s) that are not read since their names" in said
    for photo in cats.glob("*.png"):
        photo.rename(photo.with_suffix(""))
    assert "cats: this class folder holds no images, but 4 image(s)" in refused("photos")


def test_training_tells_of_them(here: Path, petclassify: Callable, caplog) -> None:
    (here / "photos" / "cats" / "1.HEIC").touch()
    petclassify("train", here / "photos", "--weights", "none.pth")
    assert "1 .heic file(s), which are not read" in caplog.text


def test_a_folder_to_predict_tells_of_them(here: Path, petclassify: Callable, caplog) -> None:
    (here / "photos" / "cats" / "1.HEIC").touch()
    assert petclassify("predict", here / "photos").code == 0
    assert "photos: 1 .heic file(s), which are not read" in caplog.text


def test_classes_that_differ_in_case_are_said_to(make_photos: Make, tmp_path: Path) -> None:
    for split, name in (("train", "Cats"), ("train", "dogs"), ("test", "cats"), ("test", "dogs")):
        make_photos(tmp_path / "set" / split / name)
    with pytest.raises(DataError, match="cats, not Cats, differ in case"):
        read_index(tmp_path / "set")
