"""What `data draw` promises: the same pets again, and nothing to learn from but their shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from petclassify.errors import UsageError
from petclassify.images import drawn_pets as module
from petclassify.images.drawn_pets import Kind, draw_pet, draw_pets


def _read(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _draw(folder: Path, count: int, seed: int) -> dict[str, bytes]:
    draw_pets(folder, count, seed)
    return _read(folder)


def test_the_same_seed_draws_the_same_bytes(tmp_path):
    assert _draw(tmp_path / "once", 6, seed=3) == _draw(tmp_path / "again", 6, seed=3)


def test_no_two_pictures_are_alike_within_a_seed_or_across_seeds(tmp_path):
    pictures = [_draw(tmp_path / str(seed), 6, seed) for seed in (0, 1)]
    assert len({content for files in pictures for content in files.values()}) == 12


def test_a_larger_count_adds_pictures_and_changes_none(tmp_path):
    few, many = _draw(tmp_path / "few", 4, seed=0), _draw(tmp_path / "many", 8, seed=0)
    assert few.items() < many.items()


@pytest.mark.parametrize(("count", "cats", "dogs"), [(2, 1, 1), (5, 3, 2), (6, 3, 3)])
def test_half_are_cats_and_half_are_dogs(tmp_path, count, cats, dogs):
    expected = {f"cats/cat-{number:04}.jpg" for number in range(1, cats + 1)}
    expected |= {f"dogs/dog-{number:04}.jpg" for number in range(1, dogs + 1)}
    assert set(_draw(tmp_path / "deep" / "pets", count, seed=0)) == expected


def test_a_folder_with_anything_in_it_is_refused_and_left_untouched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        draw_pets(tmp_path, 2, seed=0)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "notes.txt"]


@pytest.mark.parametrize("way", [".", "../here"])
def test_the_working_folder_is_not_replaced(tmp_path, monkeypatch, way):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match="is the folder that you are in"):
        draw_pets(Path(way), 2, seed=0)
    assert [*tmp_path.rglob("*")] == [Path.cwd()]


@pytest.mark.parametrize("place", ["file", "file/pets"])
def test_a_file_in_the_way_is_named(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"file: is a file"):
        draw_pets(tmp_path / place, 2, seed=0)


def test_sides_stay_within_what_is_documented():
    sides = [side for seed in range(20) for side in _pet("cat", seed, size=100).size]
    assert 88 <= min(sides) < 100 < max(sides) <= 125


@pytest.fixture(scope="module")
def pets() -> list[Image.Image]:
    """Cats at the even places, dogs at the odd ones."""
    return [_pet(kind, seed, size=96) for seed in range(200) for kind in ("cat", "dog")]


def test_colour_does_not_tell_cats_from_dogs(pets):
    assert _accuracy([_colours(pet) for pet in pets]) < 0.62


def test_shape_tells_cats_from_dogs(pets):
    """The colour test would also pass on pictures that show nothing at all."""
    assert _accuracy([_contours(pet) for pet in pets]) > 0.68


def _pet(kind: Kind, seed: int, size: int) -> Image.Image:
    return draw_pet(kind, np.random.default_rng((kind == "dog", seed)), size)


def _accuracy(features: list[np.ndarray]) -> float:
    """Fit a logistic regression to the first half of the pets, and test it on the other."""
    half = len(features) // 2
    labels = np.tile([0, 1], half)
    scaled = StandardScaler().fit(features[:half]).transform(features)
    model = LogisticRegression(C=0.01).fit(scaled[:half], labels[:half])
    return float(model.score(scaled[half:], labels[half:]))


def _colours(picture: Image.Image) -> np.ndarray:
    """Mean, spread and a 4x4x4 histogram of colour."""
    pixels = np.asarray(picture).reshape(-1, 3)
    histogram = np.histogramdd(pixels, bins=4, range=[(0, 256)] * 3)[0].ravel() / len(pixels)
    return np.concatenate((pixels.mean(axis=0), pixels.std(axis=0), np.sqrt(histogram)))


def _contours(picture: Image.Image) -> np.ndarray:
    """How much edge runs in each of 12 directions, in each of 3x3 cells: HOG, without colour."""
    grey = np.asarray(picture.convert("L").resize((96, 96)), dtype=np.float64)
    down, right = np.gradient(grey)
    row, column = np.mgrid[0:96, 0:96]
    where = np.stack((row, column, np.arctan2(down, right) % np.pi), axis=-1).reshape(-1, 3)
    strength = np.hypot(down, right).clip(max=30).ravel()
    spans = [(0, 96), (0, 96), (0, np.pi)]
    return np.sqrt(np.histogramdd(where, (3, 3, 12), spans, weights=strength)[0]).ravel()


@pytest.mark.attack("Disks")
def test_a_disk_that_knows_no_permissions_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    draw_pets(tmp_path / "pets", count=2, seed=0)
    assert len(list((tmp_path / "pets").rglob("*.jpg"))) == 2


def test_a_folder_that_another_command_fills_meanwhile_is_left_as_it_is(tmp_path, monkeypatch):
    folder = tmp_path / "pets"

    def fill_and_draw(*given):
        folder.mkdir(exist_ok=True)
        (folder / "mine").touch()
        return draw_pet(*given)

    monkeypatch.setattr(module, "draw_pet", fill_and_draw)
    with pytest.raises(UsageError, match="pets: is not empty"):
        draw_pets(folder, 4, seed=0)
    assert _read(folder) == {"mine": b""}
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("made", [True, False])
def test_what_a_link_names_is_filled_and_the_link_stays(tmp_path, made):
    (tmp_path / "link").symlink_to("large disk")
    if made:
        (tmp_path / "large disk").mkdir()
    draw_pets(tmp_path / "link", 2, seed=0)
    assert (tmp_path / "link").is_symlink()
    assert len(_read(tmp_path / "large disk")) == 2
