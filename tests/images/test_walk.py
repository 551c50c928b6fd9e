from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from petclassify.errors import ImageError, ImageFault
from petclassify.images.digests import digest_file
from petclassify.images.other_files import unread_photos
from petclassify.images.walk import walk_images

Make = Callable[..., list[Path]]


def test_a_loop_of_links_is_walked_once(tmp_path: Path, make_photos: Make) -> None:
    photos = make_photos(tmp_path / "a" / "b", 3)
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    assert list(walk_images(tmp_path)) == photos


def test_each_link_to_a_photo_is_a_photo(tmp_path: Path, make_photos: Make) -> None:
    (photo,) = make_photos(tmp_path / "real", 1)
    links = tmp_path / "links"
    links.mkdir()
    for number in range(3):
        (links / f"{number}.png").symlink_to(photo)
    assert len(list(walk_images(links))) == 3


def test_odd_names_survive(tmp_path: Path, make_photos: Make) -> None:
    (photo,) = make_photos(tmp_path / "real", 1)
    names = [b"line\nbreak.png", "emoji \U0001f431.png".encode(), b"broken \xff utf8.png"]
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path / "real"), name))).write_bytes(  # noqa: PTH118
            photo.read_bytes()
        )
    found = {os.fsencode(path.name) for path in walk_images(tmp_path)}
    assert found == {*names, b"000.png"}


def test_a_dangling_link_is_reported_and_a_pipe_is_not_entered(tmp_path: Path) -> None:
    dangling = tmp_path / "dangling.jpg"
    dangling.symlink_to(tmp_path / "none.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert list(walk_images(tmp_path)) == [dangling]
    outcome = digest_file(dangling)
    assert isinstance(outcome, ImageError)
    assert outcome.kind == ImageFault.MISSING


def test_every_format_is_found_under_each_of_its_usual_names(tmp_path: Path) -> None:
    suffixes = ("jpg", "JPEG", "mpo", "png", "apng", "gif", "webp", "avif", "bmp", "tif", "tga")
    names = {f"photo.{suffix}" for suffix in (*suffixes, "pbm", "pgm", "ppm", "pnm")}
    for name in names:
        (tmp_path / name).touch()
    assert {path.name for path in walk_images(tmp_path)} == names


def test_folders_are_walked_as_deep_as_they_can_be_named(
    make_photos: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (photo,) = make_photos(tmp_path / "real", 1)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    for _ in range(1200):
        Path("a").mkdir()
        os.chdir("a")
    Path("photo.png").symlink_to(photo)
    Path("photo.heic").touch()
    os.chdir(tmp_path)
    try:
        (found,) = walk_images(Path("deep"))
        assert len(found.parts) == 1202
        assert "1 .heic" in unread_photos(Path("deep"))
    finally:
        for depth in range(1200, 0, -1):  # pytest's own clearing up is recursive too
            place = Path("deep", *["a"] * depth)
            for entry in place.iterdir():
                entry.unlink()
            place.rmdir()
