"""Public data sets by name: where their files lie, and by which sums they are known.

A sum is the set: whichever address a file came from, and a user's own copy as well, it is
taken only if its SHA-256 is the one below. Sizes are exact, so a longer answer is cut off.
What is in the files is read in `learn.data.public_data`, with torchvision's loaders.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from petclassify.errors import DataError, EnvironmentFault
from petclassify.images.digests import digest_file
from petclassify.images.download import BytesDone, download

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteFile:
    """One pinned file.

    Attributes:
        name: of the file on disk.
        urls: https addresses of the same bytes, tried in turn.
        sha256: in hex.
        max_bytes: its size; no more is downloaded.

    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    max_bytes: int


@dataclass(frozen=True)
class PublicSet:
    """A public data set.

    Attributes:
        name: what the user calls it, and its folder.
        title: one line about it, its terms of use included.
        files: as they are published.
        max_unpacked_bytes: of any one file.
        max_unpacked_files: in any one file.

    """

    name: str
    title: str
    files: tuple[RemoteFile, ...]
    max_unpacked_bytes: int
    max_unpacked_files: int

    @property
    def size_bytes(self) -> int:
        """Of all files as they are downloaded."""
        return sum(file.max_bytes for file in self.files)


_TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
_TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
_TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
_TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


def _at(folders: Sequence[str], name: str, sha256: str, size_bytes: int) -> RemoteFile:
    return RemoteFile(name, tuple(f"{folder}/{name}" for folder in folders), sha256, size_bytes)


_FASHION = (
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
)
_DIGITS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
_CIFAR = ("https://www.cs.toronto.edu/~kriz",)
_PETS = ("https://www.robots.ox.ac.uk/~vgg/data/pets/data",)
_CATS_VS_DOGS = (
    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F",
)

# fmt: off
_SETS = (
    PublicSet(
        "fashion-mnist",
        "70,000 grey pictures of clothes, 28 x 28, 10 classes (Zalando Research, MIT)",
        (
            _at(_FASHION, _TRAIN_IMAGES, "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7", 26_421_856),  # noqa: E501
            _at(_FASHION, _TRAIN_LABELS, "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056", 29_491),  # noqa: E501
            _at(_FASHION, _TEST_IMAGES, "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa", 4_422_079),  # noqa: E501
            _at(_FASHION, _TEST_LABELS, "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05", 5_125),  # noqa: E501
        ),
        max_unpacked_bytes=48_000_000,
        max_unpacked_files=1,
    ),
    PublicSet(
        "mnist",
        "70,000 grey pictures of digits, 28 x 28, 10 classes (LeCun, Cortes, Burges)",
        (
            _at(_DIGITS, _TRAIN_IMAGES, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),  # noqa: E501
            _at(_DIGITS, _TRAIN_LABELS, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),  # noqa: E501
            _at(_DIGITS, _TEST_IMAGES, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),  # noqa: E501
            _at(_DIGITS, _TEST_LABELS, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),  # noqa: E501
        ),
        max_unpacked_bytes=48_000_000,
        max_unpacked_files=1,
    ),
    PublicSet(
        "cifar10",
        "60,000 colour pictures, 32 x 32, 10 classes (Krizhevsky)",
        (
            _at(_CIFAR, "cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", 170_498_071),  # noqa: E501
        ),
        max_unpacked_bytes=200_000_000,
        max_unpacked_files=20,
    ),
    PublicSet(
        "oxford-pets",
        "7,349 photos of cats and dogs, 37 breeds (Oxford VGG and IIIT, CC BY-SA 4.0)",
        (
            _at(_PETS, "images.tar.gz", "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d", 791_918_971),  # noqa: E501
            _at(_PETS, "annotations.tar.gz", "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91", 19_173_078),  # noqa: E501
        ),
        max_unpacked_bytes=1_000_000_000,
        max_unpacked_files=40_000,
    ),
    PublicSet(
        "cats-vs-dogs",
        "25,000 photos of cats and dogs (Asirra, Microsoft and Petfinder, CDLA-Permissive-2.0)",
        (
            _at(_CATS_VS_DOGS, "kagglecatsanddogs_5340.zip", "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9", 824_887_076),  # noqa: E501
        ),
        max_unpacked_bytes=1_000_000_000,
        max_unpacked_files=40_000,
    ),
)
# fmt: on

PUBLIC_SETS: dict[str, PublicSet] = {public_set.name: public_set for public_set in _SETS}


def named_folder(data: Path, data_root: Path) -> Path | None:
    """Return where the pictures of a set lie whose name `data` is; None for a path."""
    name = str(data)
    return data_root / name if name in PUBLIC_SETS and not data.exists() else None


def fetched_folder(data: Path, data_root: Path) -> Path:
    """Return what DATA names, for commands that fetch nothing themselves.

    Raises:
        DataError: it is the name of a set that was not fetched.

    """
    folder = named_folder(data, data_root)
    if folder is None:
        return data
    beside_raw = pictures_beside(folder)
    if beside_raw.is_dir():
        return beside_raw
    if not folder.is_dir():
        raise DataError(f"{folder}: not here. Run: petclassify data fetch {data}")
    return folder


def pictures_beside(raw: Path) -> Path:
    """Where a set's pictures go whose raw files lie at `data_root/NAME` themselves."""
    return raw.with_name(f"{raw.name}-pictures")


def raw_set(folder: Path) -> PublicSet | None:
    """Return the set whose published files a folder holds, next to whatever else.

    Sets whose files have the same names are told apart by the smallest of them.

    Raises:
        DataError: the names are a set's, but the bytes are not.

    """
    named = [known for known in PUBLIC_SETS.values() if _all_present(known, folder)]
    if not named:
        return None
    for known in named:
        if len(named) == 1 or _is_right(min(known.files, key=lambda file: file.max_bytes), folder):
            _require_right(known, folder)
            return known
    names = " nor ".join(known.name for known in named)
    raise DataError(
        f"{folder}: its files are named like those of {named[0].name}, but hold the bytes of "
        f"neither {names}. Fetch one anew, by its name, or give a folder of class folders"
    )


def fetch_raw(public_set: PublicSet, data_root: Path, advance: BytesDone | None = None) -> Path:
    """Download a set's files to `data_root/raw/NAME`, where they stay; return that folder.

    Args:
        public_set: which.
        data_root: the folder of all public sets.
        advance: is told how many bytes of `public_set.size_bytes` are there.

    Raises:
        EnvironmentFault: none of a file's addresses gives it, or the disk refuses.

    """
    raw = data_root / "raw" / public_set.name
    before = 0
    for file in public_set.files:
        _fetch_from_any(file, raw / file.name, _counting_on(before, advance))
        before += file.max_bytes
        _counting_on(before, advance)(0)
    return raw


def _counting_on(before: int, advance: BytesDone | None) -> BytesDone:
    return lambda done: advance(before + done) if advance is not None else None


def _fetch_from_any(file: RemoteFile, path: Path, advance: BytesDone) -> None:
    *first, last = file.urls
    for url in first:
        try:
            download(url, file.sha256, path, file.max_bytes, advance)
        except EnvironmentFault as error:
            log.info("%s. Trying the next address", error)
        else:
            return
    download(last, file.sha256, path, file.max_bytes, advance)


def _all_present(public_set: PublicSet, folder: Path) -> bool:
    try:
        return all((folder / file.name).is_file() for file in public_set.files)
    except OSError:
        return False  # the index reader says why


def _is_right(file: RemoteFile, folder: Path) -> bool:
    return digest_file(folder / file.name) == file.sha256


def _require_right(public_set: PublicSet, folder: Path) -> None:
    for file in public_set.files:
        found = digest_file(folder / file.name)
        if found != file.sha256:
            said = str(found) if isinstance(found, Exception) else f"its SHA-256 is {found}"
            raise DataError(
                f"{folder / file.name}: not the {file.name} of {public_set.name}: {said}, "
                f"expected {file.sha256}. Fetch it anew"
            )
