from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from petclassify.errors import DataError, UsageError
from petclassify.images.exclusions import leave_out, read_exclusions, write_exclusions
from petclassify.images.index import read_index


@pytest.fixture
def photos(tmp_path: Path, make_photos: Callable[..., list[Path]]) -> Path:
    """Four cats and four dogs, 000.png to 003.png."""
    for name in ("cats", "dogs"):
        make_photos(tmp_path / "photos" / name)
    return tmp_path / "photos"


def names_left(index) -> list[str]:
    return [os.path.relpath(s.path, index.root) for s in index.splits["train"]]


@pytest.mark.parametrize(
    "name", ["a,b;c.jpg", 'quo"te.jpg', "new\nline\r.jpg", "😺.jpg", os.fsdecode(b"\xff\xfe.jpg")]
)
def test_any_name_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    write_exclusions(tmp_path / "list.csv", [(f"cats/{name}", "says cats, looks like dogs")])
    assert read_exclusions(tmp_path / "list.csv") == [f"cats/{name}"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfpath,reason\r\ncats/000.png,x\r\n\r\n",
        b"path;reason\ncats/000.png;x\n",
        b"path\tsure\treason\ncats/000.png\tyes\tx\n",
        b"reason,path\nx,./cats//000.png\n",
        b"path\ncats/000.png",
    ],
)
def test_a_list_that_a_spreadsheet_saved_still_counts(
    tmp_path: Path, photos: Path, content: bytes
) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    index = leave_out(read_index(photos), tmp_path / "list.csv")
    assert index.excluded == ("cats/000.png",)
    assert "cats/000.png" not in names_left(index)
    assert len(names_left(index)) == 7


@pytest.mark.parametrize(
    "content", [b"", b"cats/000.png\n", b"\x89PNG\r\n\x1a\n\0\0", b'path,reason\n"cats/000.png']
)
def test_what_is_no_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(UsageError, match="column 'path'"):
        read_exclusions(tmp_path / "list.csv")


def test_a_list_in_utf_16_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "exclude.csv"
    path.write_bytes("path\tcats/1.jpg\n".encode("utf-16"))
    with pytest.raises(UsageError, match="save it as CSV UTF-8"):
        read_exclusions(path)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_exclusions(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="is a directory"):
        read_exclusions(tmp_path)


def test_entries_that_name_no_photo_are_one_warning(
    tmp_path: Path, photos: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("cats/000.png", ""), ("cats/gone.png", ""), ("/cats/001.png", "")]
    write_exclusions(tmp_path / "list.csv", rows)
    assert len(names_left(leave_out(read_index(photos), tmp_path / "list.csv"))) == 7
    (record,) = caplog.records
    assert "2 of 3 entries name no photo" in record.getMessage()


def test_paths_as_predict_names_them_count_too(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [("photos/cats/000.png", ""), (str(photos / "dogs" / "001.png"), "")]
    write_exclusions(tmp_path / "list.csv", rows)
    index = leave_out(read_index(Path("photos")), tmp_path / "list.csv")
    assert index.excluded == ("cats/000.png", "dogs/001.png")


def test_a_list_of_another_data_set_is_refused(tmp_path: Path, photos: Path) -> None:
    write_exclusions(tmp_path / "list.csv", [("birds/000.png", ""), ("birds/001.png", "")])
    with pytest.raises(UsageError, match=r"2 of 2 entries .+ birds/000\.png"):
        leave_out(read_index(photos), tmp_path / "list.csv")


def test_leaving_out_test_photos_is_said_since_it_can_flatter(
    tmp_path: Path, make_photos: Callable[..., list[Path]], caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("train/cats", "train/dogs", "test/cats", "test/dogs"):
        make_photos(tmp_path / "split" / folder)
    write_exclusions(tmp_path / "list.csv", [("test/cats/000.png", ""), ("train/cats/000.png", "")])
    index = leave_out(read_index(tmp_path / "split"), tmp_path / "list.csv")
    assert [len(samples) for samples in index.splits.values()] == [7, 7]
    assert "leaves out 1 test photo(s)" in caplog.text


def test_a_class_is_never_left_empty(tmp_path: Path, photos: Path) -> None:
    write_exclusions(tmp_path / "list.csv", [(f"dogs/00{n}.png", "") for n in range(4)])
    with pytest.raises(DataError, match="leaves no photo of the class dogs"):
        leave_out(read_index(photos), tmp_path / "list.csv")


@pytest.mark.attack("Surroundings")
def test_a_device_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="/dev/zero: is a device"):
        read_exclusions(Path("/dev/zero"))
    os.mkfifo(tmp_path / "list")
    with ThreadPoolExecutor() as pool:  # as a shell's <(...) is one
        pool.submit((tmp_path / "list").write_text, "path\ncats/000.png\n")
        assert read_exclusions(tmp_path / "list") == ["cats/000.png"]
