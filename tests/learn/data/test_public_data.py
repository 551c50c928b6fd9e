"""What a set's name gives: class folders with the very pictures of the published files."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import logging
import pickle
import shutil
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from petclassify.errors import EnvironmentFault, UsageError
from petclassify.images.index import read_index
from petclassify.images.public_sets import PUBLIC_SETS, PublicSet
from petclassify.learn.data import public_data
from petclassify.learn.data.public_data import fetch, prepare, unpack
from tests.conftest import REPOSITORY
from tests.images.https_server import serving

REAL_FASHION = REPOSITORY.parent / "shared" / "data" / "fashion-mnist"
LABELS = {"train": [3, 0, 9, 0], "test": [1, 2]}


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving(monkeypatch, tmp_path) as served:
        yield served


@pytest.fixture
def pinned(monkeypatch, tmp_path, server):
    """Publish small files under a set's name, on the server and in a folder."""

    def pin(name: str, files: dict[str, bytes]) -> tuple[PublicSet, Path]:
        raw = tmp_path / f"own-{name}"
        raw.mkdir()
        server.files |= files
        remote = []
        for file in PUBLIC_SETS[name].files:
            content = files[file.name]
            (raw / file.name).write_bytes(content)
            sha256 = hashlib.sha256(content).hexdigest()
            url = server.url(file.name)
            changed = dataclasses.replace(file, urls=(url,), sha256=sha256, max_bytes=len(content))
            remote.append(changed)
        public_set = dataclasses.replace(PUBLIC_SETS[name], files=tuple(remote))
        monkeypatch.setitem(PUBLIC_SETS, name, public_set)
        return public_set, raw

    return pin


def _grey(split, seed=0):
    rng = np.random.default_rng((seed, len(split)))
    return rng.integers(0, 256, (len(LABELS[split]), 28, 28), dtype=np.uint8)


def _idx_files(seed=0):
    files = {}
    for split, stem in (("train", "train"), ("test", "t10k")):
        pixels, labels = _grey(split, seed), bytes(LABELS[split])
        images = struct.pack(">4I", 0x803, *pixels.shape) + pixels.tobytes()
        files[f"{stem}-images-idx3-ubyte.gz"] = gzip.compress(images)
        files[f"{stem}-labels-idx1-ubyte.gz"] = gzip.compress(
            struct.pack(">2I", 0x801, len(labels)) + labels
        )
    return files


def _dtype_with_a_warning():
    warnings.warn("this pickle is of 2009", UserWarning, stacklevel=1)
    return np.dtype("u1")


class _OldPickler(pickle.Pickler):
    """Writes arrays that are warned of when they are read, as NumPy 2.4.0 does of CIFAR-10."""

    def reducer_override(self, value):
        return (_dtype_with_a_warning, ()) if isinstance(value, np.dtype) else NotImplemented


def _pickled(content):
    stream = io.BytesIO()
    _OldPickler(stream, protocol=2).dump(content)
    return stream.getvalue()


def _tar_gz(files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


CIFAR_CLASSES = ["airplane", "automobile", "bird"]


def _cifar_pixels(batch):
    return np.random.default_rng(batch).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)


@pytest.fixture
def cifar(monkeypatch):
    """Two pictures in each of the six batches, of classes 2 and 0."""
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    files = {
        name: _pickled({"data": _cifar_pixels(batch).reshape(2, -1), "labels": [2, 0]})
        for batch, name in enumerate(names)
    }
    files["batches.meta"] = _pickled({"label_names": CIFAR_CLASSES})
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    loader = torchvision.datasets.CIFAR10
    monkeypatch.setattr(loader, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(loader, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(loader, "meta", loader.meta | {"md5": sums["batches.meta"]})
    packed = {f"cifar-10-batches-py/{name}": content for name, content in files.items()}
    return {"cifar-10-python.tar.gz": _tar_gz(packed)}


def _jpeg(value):
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), (value, 0, 0)).save(stream, "JPEG")
    return stream.getvalue()


PETS = {
    "Abyssinian_1": (1, "trainval"),
    "Abyssinian_2": (1, "test"),
    "american_bulldog_10": (2, "trainval"),
    "american_bulldog_11": (2, "test"),
}


def _pets_files():
    images = {f"images/{name}.jpg": _jpeg(place) for place, name in enumerate(PETS)}
    lists = {
        f"annotations/{split}.txt": "".join(
            f"{name} {label} 1 1\n" for name, (label, theirs) in PETS.items() if theirs == split
        ).encode()
        for split in ("trainval", "test")
    }
    return {
        "images.tar.gz": _tar_gz(images | {"images/Abyssinian_100.mat": b"of no use"}),
        "annotations.tar.gz": _tar_gz(lists | {"annotations/README": b"read me"}),
    }


def _cats_vs_dogs_files():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for value, name in enumerate(("Cat/0", "Cat/1", "Dog/0")):
            packed.writestr(f"PetImages/{name}.jpg", _jpeg(value))
        packed.writestr("PetImages/Cat/Thumbs.db", b"windows")
        packed.writestr("readme[1].txt", b"read me")
    return {"kagglecatsanddogs_5340.zip": stream.getvalue()}


def _tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "class_names"),
    [
        ("fashion-mnist", ("Dress", "T-shirt-top", "Ankle boot", "T-shirt-top")),
        ("mnist", ("3 - three", "0 - zero", "9 - nine", "0 - zero")),
    ],
)
def test_grey_pictures_keep_their_pixels_their_place_and_their_class(
    pinned, tmp_path, name, class_names
):
    folder = unpack(*pinned(name, _idx_files()), tmp_path / "data")
    assert folder == tmp_path / "data" / name
    for position, (class_name, expected) in enumerate(
        zip(class_names, _grey("train"), strict=True)
    ):
        picture = Image.open(folder / "train" / class_name / f"{position + 1:05}.png")
        assert (picture.format, picture.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(picture), expected)
    assert len(_tree(folder / "train")) == 4
    assert len(_tree(folder / "test")) == 2


def test_colour_pictures_keep_their_pixels_across_the_batches(pinned, tmp_path, cifar):
    folder = unpack(*pinned("cifar10", cifar), tmp_path / "data")
    for batch, (split, position) in enumerate(
        [*(("train", number) for number in (1, 3, 5, 7, 9)), ("test", 1)]
    ):
        for offset, class_name in enumerate(("bird", "airplane")):
            picture = Image.open(folder / split / class_name / f"{position + offset:05}.png")
            expected = _cifar_pixels(batch)[offset].transpose(1, 2, 0)
            np.testing.assert_array_equal(np.asarray(picture), expected)
    assert len(_tree(folder)) == 12


def test_a_pickle_that_torchvision_does_not_know_is_not_opened(
    pinned, tmp_path, cifar, monkeypatch
):
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "test_list", [["test_batch", "0" * 32]])
    monkeypatch.setattr(pickle, "load", lambda *given, **named: pytest.fail("was opened"))
    with pytest.raises(RuntimeError, match="corrupted"):
        unpack(*pinned("cifar10", cifar), tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_pets_keep_their_bytes_in_the_split_and_breed_of_the_lists(pinned, tmp_path):
    folder = unpack(*pinned("oxford-pets", _pets_files()), tmp_path / "data")
    places = (
        *("train/Abyssinian/Abyssinian_1.jpg", "test/Abyssinian/Abyssinian_2.jpg"),
        "train/American Bulldog/american_bulldog_10.jpg",
        "test/American Bulldog/american_bulldog_11.jpg",
    )
    assert {place: (folder / place).read_bytes() for place in _tree(folder)} == {
        place: _jpeg(value) for value, place in enumerate(places)
    }


def test_cats_vs_dogs_is_flat_and_holds_photos_only(pinned, tmp_path):
    folder = unpack(*pinned("cats-vs-dogs", _cats_vs_dogs_files()), tmp_path / "data")
    assert _tree(folder) == {"Cat/0.jpg", "Cat/1.jpg", "Dog/0.jpg"}
    assert (folder / "Dog/0.jpg").read_bytes() == _jpeg(2)
    index = read_index(folder)
    assert (index.class_names, index.flat) == (("Cat", "Dog"), True)


def test_nothing_but_the_pictures_stays_below_the_data_root(pinned, tmp_path):
    unpack(*pinned("mnist", _idx_files()), tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["mnist"]
    assert (tmp_path / "data" / "mnist").stat().st_mode & 0o777 == (
        (tmp_path / "data").stat().st_mode & 0o777
    )


def test_a_refused_archive_leaves_no_folder(pinned, tmp_path):
    public_set, raw = pinned("mnist", _idx_files())
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(EnvironmentFault, match=r"t10k-labels-idx1-ubyte\.gz: refused: damaged"):
        unpack(public_set, raw, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_an_end_midway_leaves_no_folder(pinned, tmp_path, monkeypatch):
    def stop(*given, **named):
        raise KeyboardInterrupt

    public_set, raw = pinned("mnist", _idx_files())
    monkeypatch.setattr(Image.Image, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        unpack(public_set, raw, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_with_something_in_it_is_used_as_it_is(pinned, tmp_path):
    public_set, raw = pinned("mnist", _idx_files())
    (tmp_path / "data/mnist/mine").mkdir(parents=True)
    assert unpack(public_set, raw, tmp_path / "data") == tmp_path / "data" / "mnist"
    assert [path.name for path in (tmp_path / "data/mnist").iterdir()] == ["mine"]


def test_a_process_that_comes_second_takes_what_the_first_wrote(pinned, tmp_path, monkeypatch):
    public_set, raw = pinned("mnist", _idx_files())
    folder = tmp_path / "data" / "mnist"

    def be_late(published, pictures):
        (folder / "first").mkdir(parents=True)

    monkeypatch.setitem(public_data._RECIPES, "mnist", ("", be_late))
    assert unpack(public_set, raw, tmp_path / "data") == folder
    assert [path.name for path in folder.iterdir()] == ["first"]


def test_a_file_where_the_folder_should_be_is_named(pinned, tmp_path):
    public_set, raw = pinned("mnist", _idx_files())
    (tmp_path / "mnist").write_text("mine")
    with pytest.raises(UsageError, match="mnist: is a file"):
        unpack(public_set, raw, tmp_path)
    assert (tmp_path / "mnist").read_text() == "mine"


def test_an_ordinary_folder_is_returned_untouched(drawn_pets, tmp_path, server):
    before = _tree(drawn_pets)
    assert prepare(drawn_pets, tmp_path / "data") == drawn_pets
    assert _tree(drawn_pets) == before
    assert not (tmp_path / "data").exists()
    assert server.asked == []


def test_what_is_no_folder_is_left_to_the_index_reader(tmp_path):
    assert prepare(tmp_path / "nowhere", tmp_path / "data") == tmp_path / "nowhere"


def test_a_folder_of_published_files_becomes_pictures_elsewhere(pinned, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    _, raw = pinned("fashion-mnist", _idx_files())
    before = {path.name: path.read_bytes() for path in raw.iterdir()}
    folder = prepare(raw, tmp_path / "data")
    assert folder == tmp_path / "data" / "fashion-mnist"
    assert len(_tree(folder)) == 6
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == before
    assert f"{raw} holds the files of fashion-mnist" in caplog.text
    assert str(folder) in caplog.text


@pytest.mark.parametrize("by_name", [True, False])
def test_published_files_that_lie_where_the_pictures_go_get_a_folder_beside(
    pinned, tmp_path, monkeypatch, by_name
):
    monkeypatch.chdir(tmp_path)
    _, raw = pinned("mnist", _idx_files())
    shutil.copytree(raw, tmp_path / "data" / "mnist")
    given = Path("mnist") if by_name else Path("data/mnist")
    folder = prepare(given, Path("data"))
    assert folder == Path("data/mnist-pictures")
    assert len(_tree(folder)) == 6


def test_a_name_is_fetched_once_and_then_read_from_disk(
    pinned, tmp_path, server, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    pinned("oxford-pets", _pets_files())
    folder = prepare(Path("oxford-pets"), Path("data"))
    assert folder == Path("data/oxford-pets")
    assert len(_tree(folder)) == len(PETS)
    assert len(server.asked) == 2
    assert "fetching oxford-pets" in caplog.text
    assert prepare(Path("oxford-pets"), Path("data")) == folder
    assert fetch("oxford-pets", Path("data")) == folder
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", list(PUBLIC_SETS))
def test_every_set_comes_over_https_to_the_pictures_that_its_files_hold(
    pinned, tmp_path, server, cifar, name
):
    files = {
        "oxford-pets": _pets_files,
        "cats-vs-dogs": _cats_vs_dogs_files,
        "cifar10": lambda: cifar,
    }.get(name, _idx_files)()
    public_set, raw = pinned(name, files)
    fetched = _tree(fetch(name, tmp_path / "fetched"))
    assert len(server.asked) == len(public_set.files)
    assert fetched
    assert fetched == _tree(unpack(public_set, raw, tmp_path / "unpacked"))


def test_a_lost_picture_folder_is_made_again_without_the_network(pinned, tmp_path, server):
    pinned("mnist", _idx_files())
    shutil.rmtree(fetch("mnist", tmp_path / "data"))
    server.asked.clear()
    assert len(_tree(fetch("mnist", tmp_path / "data"))) == 6
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "near"), [("fashion_mnist", "fashion-mnist"), ("CIFAR-10", "cifar10")]
)
def test_an_unknown_name_is_refused_with_the_nearest_and_all(tmp_path, name, near):
    with pytest.raises(UsageError, match=f"did you mean .*{near}") as refused:
        fetch(name, tmp_path)
    assert all(known in str(refused.value) for known in PUBLIC_SETS)
    assert list(tmp_path.iterdir()) == []


def test_the_genuine_fashion_mnist_gives_the_pixels_of_its_files(tmp_path, monkeypatch):
    """The first 300 of each split: 70,000 would take too long here."""
    if not REAL_FASHION.is_dir():
        pytest.skip("needs the real Fashion-MNIST in ../shared/data, which is not here")
    loader = torchvision.datasets.FashionMNIST
    read_all = loader._load_data
    monkeypatch.setattr(loader, "_load_data", lambda self: [all_[:300] for all_ in read_all(self)])
    folder = prepare(REAL_FASHION, tmp_path / "data")
    for split, stem in (("train", "train"), ("test", "t10k")):
        labels = _unpacked(REAL_FASHION / f"{stem}-labels-idx1-ubyte.gz")[8:308]
        pixels = _unpacked(REAL_FASHION / f"{stem}-images-idx3-ubyte.gz")[16:]
        assert len(_tree(folder / split)) == 300
        for position, label in enumerate(labels):
            class_name = loader.classes[label].replace("/", "-")
            picture = Image.open(folder / split / class_name / f"{position + 1:05}.png")
            assert picture.tobytes() == pixels[784 * position : 784 * (position + 1)]


def _unpacked(path):
    return gzip.decompress(path.read_bytes())
