"""What public sets promise: pinned files by name, and a user's own copies recognised."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from petclassify.errors import DataError, EnvironmentFault
from petclassify.images.public_sets import (
    PUBLIC_SETS,
    PublicSet,
    RemoteFile,
    fetch_raw,
    named_folder,
    raw_set,
)
from tests.conftest import REPOSITORY
from tests.images.https_server import serving

REAL_FASHION = REPOSITORY.parent / "shared" / "data" / "fashion-mnist"


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving(monkeypatch, tmp_path) as served:
        yield served


@pytest.fixture
def pair(server):
    """A set of two files, the second with two addresses."""
    server.files = {"images.gz": b"images", "labels.gz": b"labels"}
    urls = {"images.gz": ("images.gz",), "labels.gz": ("gone.gz", "labels.gz")}
    files = tuple(
        RemoteFile(name, tuple(map(server.url, urls[name])), hashlib.sha256(content).hexdigest(), 6)
        for name, content in server.files.items()
    )
    return PublicSet("pair", "two files", files, 100, 1)


def _pin(monkeypatch):
    """Give both sets the sums of what `_lay_out` writes."""
    for name in ("mnist", "fashion-mnist"):
        files = tuple(
            dataclasses.replace(file, sha256=hashlib.sha256(_bytes(name, file.name)).hexdigest())
            for file in PUBLIC_SETS[name].files
        )
        monkeypatch.setitem(PUBLIC_SETS, name, dataclasses.replace(PUBLIC_SETS[name], files=files))


def _bytes(set_name, file_name):
    return f"{file_name} of {set_name}".encode()


def _lay_out(folder, set_name):
    folder.mkdir()
    for file in PUBLIC_SETS[set_name].files:
        (folder / file.name).write_bytes(_bytes(set_name, file.name))
    return folder


def test_the_sets_of_the_command_line_are_these():
    expected = ["fashion-mnist", "mnist", "cifar10", "oxford-pets", "cats-vs-dogs"]
    assert [(name, known.name) for name, known in PUBLIC_SETS.items()] == [
        (name, name) for name in expected
    ]


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_every_file_is_pinned_and_comes_over_https(name):
    for file in PUBLIC_SETS[name].files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert all(url.startswith("https://") for url in file.urls)
        assert all(url.endswith(f"/{file.name}") for url in file.urls)
    sums = [file.sha256 for known in PUBLIC_SETS.values() for file in known.files]
    assert len(set(sums)) == len(sums)


def test_a_name_stands_for_a_folder_below_the_data_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert named_folder(Path("mnist"), tmp_path / "data") == tmp_path / "data" / "mnist"
    assert named_folder(Path("pets"), tmp_path / "data") is None
    assert named_folder(Path("data/mnist"), tmp_path / "data") is None


def test_a_path_that_exists_wins_over_a_name(tmp_path, monkeypatch):

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert named_folder(Path("mnist"), tmp_path / "data") is None


def test_files_arrive_below_the_data_root_from_any_of_their_addresses(pair, server, tmp_path):
    raw = fetch_raw(pair, tmp_path / "data")
    assert raw == tmp_path / "data" / "raw" / "pair"
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == server.files
    assert [name for name, _ in server.asked] == ["images.gz", "gone.gz", "labels.gz"]


def test_files_that_are_there_are_not_fetched_again(pair, server, tmp_path):
    fetch_raw(pair, tmp_path)
    server.asked.clear()
    fetch_raw(pair, tmp_path)
    assert server.asked == []


def test_when_no_address_gives_the_file_the_last_refusal_is_told(pair, server, tmp_path):
    del server.files["labels.gz"]
    with pytest.raises(EnvironmentFault, match=r"/labels\.gz: the server answered 404"):
        fetch_raw(pair, tmp_path)


def test_progress_rises_to_the_size_of_the_set(pair, tmp_path):
    told = []
    fetch_raw(pair, tmp_path, told.append)
    assert told == sorted(told)
    assert told[-1] == pair.size_bytes == 12


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_sets_with_files_of_the_same_names_are_told_apart(tmp_path, monkeypatch, name):
    _pin(monkeypatch)
    found = raw_set(_lay_out(tmp_path / "somewhere", name))
    assert found is not None
    assert found.name == name


def test_other_bytes_under_the_names_of_two_sets_are_refused(tmp_path):
    folder = _lay_out(tmp_path / "somewhere", "mnist")
    with pytest.raises(DataError, match="neither fashion-mnist nor mnist"):
        raw_set(folder)


def test_one_wrong_file_of_a_set_is_named_with_both_sums(tmp_path, monkeypatch):
    _pin(monkeypatch)
    folder = _lay_out(tmp_path / "somewhere", "mnist")
    wrong = folder / "train-images-idx3-ubyte.gz"
    wrong.write_bytes(b"cut off")
    with pytest.raises(DataError) as refused:
        raw_set(folder)
    assert str(wrong) in str(refused.value)
    assert hashlib.sha256(b"cut off").hexdigest() in str(refused.value)


def test_other_bytes_under_the_name_of_one_set_are_refused(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"not cifar")
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: not the .* of cifar10"):
        raw_set(tmp_path)


def test_a_folder_without_all_files_of_a_set_is_none(tmp_path, monkeypatch):
    _pin(monkeypatch)
    folder = _lay_out(tmp_path / "somewhere", "mnist")
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    assert raw_set(folder) is None
    assert raw_set(tmp_path / "nowhere") is None
    assert raw_set(tmp_path / "somewhere" / "train-labels-idx1-ubyte.gz") is None


def test_the_genuine_fashion_mnist_is_recognised_with_its_sizes():
    if not REAL_FASHION.is_dir():
        pytest.skip("needs the real Fashion-MNIST in ../shared/data, which is not here")
    found = raw_set(REAL_FASHION)
    assert found is PUBLIC_SETS["fashion-mnist"]
    for file in found.files:
        assert (REAL_FASHION / file.name).stat().st_size == file.max_bytes


def test_naming_sets_loads_no_torch():
    code = "import sys, petclassify.images.public_sets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
