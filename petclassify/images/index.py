"""What a data set's folders say: its classes, its splits, its samples.

Two layouts are read:

    DIR/<class>/...                  flat: `learn.data.splits` carves val and test from it
    DIR/{train,val,test}/<class>/... given, in any of the spellings below

A folder is a split only if it is spelled like one and holds folders, so `train` may also
be the class that sits beside `bus` and `car`.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from petclassify.errors import DataError
from petclassify.images.mistaken import empty_class, not_a_folder, too_few_classes
from petclassify.images.walk import Visited, list_folder, walk_images

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
_MAX_NAMED = 5  # classes in one line

_SPELLINGS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "training_set": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validation_set": "val",
    "test": "test",
    "testing": "test",
    "test_set": "test",
}


@dataclass(frozen=True)
class Sample:
    """One photo with its label, the position of its class in `Index.class_names`."""

    path: Path
    label: int


@dataclass(frozen=True)
class Index:
    """A data set as it lies on disk.

    Attributes:
        root: the folder that was read.
        class_names: in the order of their labels, sorted.
        splits: the given splits; only "train" in the flat layout.
        flat: whether the folder held classes directly.
        ignored: folders beside the splits that were not read.
        excluded: photos left out by a list, as paths below the root.

    """

    root: Path
    class_names: tuple[str, ...]
    splits: dict[Split, tuple[Sample, ...]]
    flat: bool
    ignored: tuple[Path, ...] = ()
    excluded: tuple[str, ...] = ()


def read_index(root: Path) -> Index:
    """Read a data set's class folders, deterministically.

    Raises:
        DataError: the folders do not make a data set; the message names the folder and the fix.

    """
    if not root.is_dir():
        raise not_a_folder(root)
    folders, loose_images = list_folder(root)
    split_folders = _split_folders(root, folders)
    if split_folders:
        return _read_given_splits(root, split_folders, folders)
    _refuse_splits_of_photos(root, folders)
    if loose_images and len(folders) < 2:
        raise too_few_classes(root, folders, len(loose_images))
    class_names, samples = _read_classes(root, folders)
    return Index(root, class_names, {"train": samples}, flat=True)


def _split_folders(root: Path, folders: list[Path]) -> dict[Split, Path]:
    found: dict[Split, Path] = {}
    for folder in folders:
        split = _SPELLINGS.get(folder.name.lower())
        if split is None:
            continue
        if not list_folder(folder)[0]:
            continue
        if split in found:
            raise DataError(
                f"{root}: {found[split].name} and {folder.name} are both the {split} split. "
                "Rename or move one of them"
            )
        found[split] = folder
    return found


def _refuse_splits_of_photos(root: Path, folders: list[Path]) -> None:
    """Splits without class folders, as competitions hand them out, are not two classes."""
    if len(folders) >= 2 and all(folder.name.lower() in _SPELLINGS for folder in folders):
        raise DataError(
            f"{root}: its folders [{', '.join(f.name for f in folders)}] are splits, but hold no "
            f"class folders. Sort the photos: {folders[0]}/<class>/<image>.jpg"
        )


def _read_given_splits(root: Path, found: dict[Split, Path], folders: list[Path]) -> Index:
    first = found.get("train") or found.get("val") or found["test"]
    splits: dict[Split, tuple[Sample, ...]] = {}
    class_names, splits_first = _read_classes(first, list_folder(first)[0])
    for split in SPLITS:
        if split not in found:
            continue
        if found[split] == first:
            splits[split] = splits_first
            continue
        names, splits[split] = _read_classes(found[split], list_folder(found[split])[0])
        if names != class_names:
            raise DataError(
                f"{found[split]}: its classes are not those of {first}: "
                f"{told_apart(names, class_names)}. Every split needs the same class folders"
            )
    ignored = tuple(folder for folder in folders if folder not in found.values())
    return Index(root, class_names, splits, flat=False, ignored=ignored)


def told_apart(names: Sequence[str], expected: Sequence[str]) -> str:
    """In what a set of class names differs from another, a few of them named; "" if in nothing."""
    missing, strange = set(expected) - set(names), set(names) - set(expected)
    if missing and {*map(_folded, missing)} == {*map(_folded, strange)}:
        in_case = {*map(_composed, missing)} != {*map(_composed, strange)}
        how = "case" if in_case else "accent encoding (NFC and NFD), which looks the same"
        return f"{_some(strange)}, not {_some(missing)}, differ in {how}"
    found = (("missing", missing), ("not expected", strange))
    return "; ".join(f"{what} {_some(those)}" for what, those in found if those)


def _some(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _read_classes(root: Path, folders: list[Path]) -> tuple[tuple[str, ...], tuple[Sample, ...]]:
    if len(folders) < 2:
        raise too_few_classes(root, folders)
    _refuse_names_alike(root, folders)
    _refuse_mistaken_level(root, folders)
    homes = _homes_of(root, folders)
    samples: list[Sample] = []
    status = root.stat()
    for label, folder in enumerate(folders):
        # Of each class its own: what is linked into two lies in both, and training says so.
        visited: Visited = {(status.st_dev, status.st_ino)}
        is_elsewhere = partial(_is_of_another, folder, homes)
        images = list(walk_images(folder, visited, is_elsewhere))
        if not images:
            raise empty_class(folder)
        samples += (Sample(path, label) for path in images)
    return tuple(folder.name for folder in folders), tuple(samples)


def _homes_of(root: Path, folders: list[Path]) -> dict[Path, Path]:
    """The class folder that really lies at each place; a link may not make one class of another."""
    homes: dict[Path, Path] = {}
    for folder in folders:
        other = homes.setdefault(_real(folder), folder)
        if other is not folder:
            raise _linked(folder, other)
    for home, folder in homes.items():
        within = next((homes[place] for place in home.parents if place in homes), None)
        if within is not None:
            raise _linked(folder, within)
        if _real(root).is_relative_to(home):
            raise _linked(folder, root)
    return homes


def _linked(folder: Path, other: Path) -> DataError:
    return DataError(
        f"{folder}: this class folder is a link to the photos of {other}. A photo has one class: "
        "remove the link"
    )


def _is_of_another(folder: Path, homes: dict[Path, Path], below: Path) -> bool:
    """Whether a folder that is met below a class folder really lies in another one."""
    place = _real(below)
    return any(homes.get(one, folder) is not folder for one in (place, *place.parents))


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))


def _refuse_names_alike(root: Path, folders: list[Path]) -> None:
    names = Counter(_folded(folder.name) for folder in folders)
    alike = [folder.name for folder in folders if names[_folded(folder.name)] > 1]
    if alike:
        raise DataError(
            f"{root}: the class folders {' and '.join(alike)} differ only in case or accent "
            "encoding. Merge them or rename one"
        )


def _refuse_mistaken_level(root: Path, folders: list[Path]) -> None:
    """Classes that hold no image but the same few folders are data sets, not classes."""
    below = [list_folder(folder) for folder in folders]
    inner = [tuple(sub.name for sub in subfolders) for subfolders, _ in below]
    if any(images for _, images in below) or not inner[0]:
        return
    if all(names == inner[0] for names in inner) and (
        len(inner[0]) >= 2 or inner[0][0].lower() in _SPELLINGS
    ):
        raise DataError(
            f"{root}: its folders [{', '.join(f.name for f in folders)}] each hold the folders "
            f"[{', '.join(inner[0])}], so they look like data sets, not classes. "
            f"Give one of them, for example {folders[0]}"
        )


def _folded(name: str) -> str:
    return _composed(name).casefold()


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
