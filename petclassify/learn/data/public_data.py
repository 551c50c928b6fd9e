"""From a public data set's files to class folders of pictures, through torchvision's loaders.

Pictures on disk cost some seconds once, and then every command reads them like photos of the
user's own. 70,000 grey ones took 16 s on two busy cores: the file system makes the files, and
more threads did not make it faster.

CIFAR-10 comes as pickles, which can run code. They are opened only after the archive had
the pinned SHA-256, and torchvision checks a sum of its own on each before it loads them.
"""

from __future__ import annotations

import difflib
import logging
import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from petclassify.errors import EnvironmentFault, UsageError
from petclassify.files import disk_faults_named
from petclassify.images.archives import extract
from petclassify.images.public_sets import (
    PUBLIC_SETS,
    PublicSet,
    fetch_raw,
    named_folder,
    pictures_beside,
    raw_set,
)
from petclassify.learn.claims import claimed
from petclassify.learn.progress import track

log = logging.getLogger(__name__)

_FASTEST = 1  # of the PNG's levels; the others gain 4 % in size and take five times as long


def prepare(data: Path, data_root: Path) -> Path:
    """Make a folder with class folders of whatever DATA names.

    A set's name is fetched and unpacked under `data_root` unless its pictures are there; a
    folder that holds a set's published files is unpacked there as well. Everything else is
    returned as it is, for the index reader to judge.

    Raises:
        DataError: files with a set's names hold other bytes.
        UsageError: a file lies where the pictures should.
        EnvironmentFault: the network or the disk.

    """
    folder = named_folder(data, data_root)
    if folder is not None and not _is_filled(folder):
        return fetch(folder.name, data_root)
    data = folder or data
    public_set = raw_set(data)
    if public_set is None:
        return data
    log.info("%s holds the files of %s", data, public_set.name)
    return unpack(public_set, data, data_root)


def fetch(name: str, data_root: Path) -> Path:
    """Bring a public set's pictures to `data_root/NAME`, unless something is there.

    Raises:
        UsageError: no set has this name.
        EnvironmentFault: the network or the disk.

    """
    public_set = PUBLIC_SETS.get(name)
    if public_set is None:
        near = difflib.get_close_matches(name.lower(), PUBLIC_SETS, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"unknown public set {name!r}: {hint}There are {', '.join(PUBLIC_SETS)}")
    folder = data_root / name
    if _is_filled(folder):
        beside = raw_set(folder)
        if beside is not None:
            return unpack(beside, folder, data_root)
        return _as_it_is(folder)
    with claimed(_lock_file(folder)):  # torchrun calls this in every process
        return folder if _is_filled(folder) else _fetch(public_set, data_root)


def _lock_file(folder: Path) -> Path:
    with disk_faults_named(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.with_name(f".{folder.name}.lock")


def _as_it_is(folder: Path) -> Path:
    log.info("%s is there already and used as it is", folder)
    scratch = _scratch(folder)
    if scratch.exists():  # killed when the pictures were in place
        with suppress(EnvironmentFault), claimed(_lock_file(folder)):
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _scratch(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.unpacking")


def _fetch(public_set: PublicSet, data_root: Path) -> Path:
    name = public_set.name
    total_kb = public_set.size_bytes // 1000
    log.info("fetching %s, %.1f MB: %s", name, total_kb / 1000, public_set.title)
    with track(total_kb, name, "kB") as advance:
        raw = fetch_raw(public_set, data_root, lambda done: advance(done // 1000))
    return _unpack(public_set, raw, data_root / name)


def unpack(public_set: PublicSet, raw: Path, data_root: Path) -> Path:
    """Turn a set's files into `data_root/NAME/{train,test}/<class>/...`, or `NAME/<class>/...`.

    Pictures that have no file of their own become lossless PNGs, numbered by their position
    in their split from 1 on; photos keep their bytes and names. The folder appears when all
    of it is written. If something is in it already, that is used as it is.

    Args:
        public_set: which.
        raw: holds its files; their sums were checked by `raw_set` or `fetch_raw`.
        data_root: the folder of all public sets. If the raw files themselves lie at
            `data_root/NAME`, the pictures go to `data_root/NAME-pictures`.

    Raises:
        UsageError: a file lies where the folder should.
        EnvironmentFault: an archive is refused, or the disk is full.

    """
    folder = data_root / public_set.name
    if os.path.realpath(folder) == os.path.realpath(raw):
        folder = pictures_beside(folder)
    if _is_filled(folder):
        return _as_it_is(folder)
    with claimed(_lock_file(folder)):
        return folder if _is_filled(folder) else _unpack(public_set, raw, folder)


def _unpack(public_set: PublicSet, raw: Path, folder: Path) -> Path:
    """Unpack into a folder that this process has claimed."""
    log.info("unpacking %s to %s", public_set.name, folder)
    scratch = _scratch(folder)
    with disk_faults_named(folder):
        shutil.rmtree(scratch, ignore_errors=True)  # a kill may have left it
        scratch.mkdir()
        try:
            published, pictures = scratch / "published", scratch / "pictures"
            pictures.mkdir()
            place, write = _RECIPES[public_set.name]
            _extract_all(public_set, raw, published / place)
            write(published, pictures)
            _appear(pictures, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _is_filled(folder: Path) -> bool:
    with disk_faults_named(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(
                f"{folder}: is a file, and a set's pictures need a folder. Name another "
                "--data-root, or move the file"
            )
        return folder.is_dir() and any(folder.iterdir())


def _appear(pictures: Path, folder: Path) -> None:
    """Put the folder in place; if another process was first, keep what that one wrote."""
    try:
        os.replace(pictures, folder)
    except OSError:
        if not _is_filled(folder):
            raise


def _extract_all(public_set: PublicSet, raw: Path, place: Path) -> None:
    place.mkdir(parents=True)
    for file in public_set.files:
        unpacked = place / f".{file.name}"
        limits = public_set.max_unpacked_bytes, public_set.max_unpacked_files
        extract(raw / file.name, unpacked, *limits)
        for top in unpacked.iterdir():
            os.replace(top, place / top.name)
        unpacked.rmdir()


def _write_fashion_mnist(published: Path, pictures: Path) -> None:
    from torchvision.datasets import FashionMNIST

    _write_splits(FashionMNIST, published, pictures)


def _write_mnist(published: Path, pictures: Path) -> None:
    from torchvision.datasets import MNIST

    _write_splits(MNIST, published, pictures)


def _write_cifar10(published: Path, pictures: Path) -> None:
    from torchvision.datasets import CIFAR10

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some NumPy releases warn of pickles from 2009
        _write_splits(CIFAR10, published, pictures)


def _write_splits(loader: Callable[..., Any], published: Path, pictures: Path) -> None:
    for split in ("train", "test"):
        dataset = loader(published, train=split == "train", download=False)
        folders = _class_folders(dataset, pictures / split)
        for position, (picture, label) in enumerate(dataset, start=1):
            picture.save(folders[label] / f"{position:05}.png", compress_level=_FASTEST)


def _write_oxford_pets(published: Path, pictures: Path) -> None:
    from torchvision.datasets import OxfordIIITPet

    for split, theirs in (("train", "trainval"), ("test", "test")):
        dataset = OxfordIIITPet(published, split=theirs, download=False)
        folders = _class_folders(dataset, pictures / split)
        for photo, label in zip(dataset._images, dataset._labels, strict=True):
            os.replace(photo, folders[label] / photo.name)


def _write_cats_vs_dogs(published: Path, pictures: Path) -> None:
    """Keep the photos of both folders; torchvision has no loader for this set."""
    for kind in ("Cat", "Dog"):
        (pictures / kind).mkdir()
        for photo in (published / "PetImages" / kind).glob("*.jpg"):
            os.replace(photo, pictures / kind / photo.name)


def _class_folders(dataset: Any, split: Path) -> list[Path]:  # noqa: ANN401 - torchvision has no types
    folders = [split / class_name.replace("/", "-") for class_name in dataset.classes]
    for folder in folders:
        folder.mkdir(parents=True)
    return folders


_RECIPES: dict[str, tuple[str, Callable[[Path, Path], None]]] = {
    "fashion-mnist": ("FashionMNIST/raw", _write_fashion_mnist),
    "mnist": ("MNIST/raw", _write_mnist),
    "cifar10": ("", _write_cifar10),
    "oxford-pets": ("oxford-iiit-pet", _write_oxford_pets),
    "cats-vs-dogs": ("", _write_cats_vs_dogs),
}
