"""What a path that is no data set probably is, and what to give instead.

People give the folder above or below, an archive, a model or a single photo. Each is told apart
by its name and the folders around it; nothing here opens a photo.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from petclassify.errors import DataError
from petclassify.images.other_files import ARCHIVES, MODELS, unread_photos
from petclassify.images.walk import UnlistableError, is_image_name, list_folder
from petclassify.spelling import nearest

_DEEPEST = 5  # levels of folders that hold nothing but one folder


def not_a_folder(root: Path) -> DataError:
    """Say what a data set is that is no folder, and what to give instead."""
    expected = "Expected a folder: DIR/<class>/<image>.jpg"
    if not root.exists():
        near = _near(root)
        meant = f"; did you mean {near}?" if near else "."
        return DataError(f"{root}: does not exist{meant} {expected}")
    if root.suffix.lower() in ARCHIVES:
        return DataError(f"{root}: is an archive. Unpack it, and give the folder that it makes")
    if root.suffix.lower() in MODELS:
        return DataError(f"{root}: is a model, not photos. {expected}")
    if is_image_name(root.name):
        return DataError(f"{root}: is one image. {expected}; petclassify predict takes one image")
    return DataError(f"{root}: is a file. {expected}")


def too_few_classes(root: Path, folders: list[Path], loose_images: int = 0) -> DataError:
    """Say which folder to give, if one near by is a data set, else how to make one."""
    if (root / "model.onnx").is_file() and (root / "config.json").is_file():
        return DataError(
            f"{root}: is a run folder, not photos. Give the data set; a run goes to --model"
        )
    expected = f"Expected {root}/<class>/<image>.jpg"
    below = _data_set_below(folders)
    if below is not None:
        expected += f"; did you mean {below}?"
    elif loose_images:
        expected += f"; if {root.resolve().name} is a class, give what holds it, {_parent(root)}"
    found = f"found {len(folders)} class folder(s), need at least 2"
    if loose_images:
        found = f"holds {loose_images} image(s) directly, not sorted into a folder for each class"
    return DataError(f"{root}: {found}. {expected}")


def overlooked(root: Path) -> Iterator[str]:
    """What in a data set is used for nothing, though somebody may think that it is."""
    if unread := unread_photos(root):
        yield f"{root}: {unread}"
    if loose_images := len(list_folder(root)[1]):
        yield f"{root}: {loose_images} image(s) beside the class folders, which are not used"


def empty_class(folder: Path) -> DataError:
    """Say what a class folder holds in place of images."""
    unread = unread_photos(folder)
    fix = f", but {unread}" if unread else ". Add some or remove the folder"
    data_set = next(filter(_is_data_set, _folders(folder.parent)), None)
    if data_set is not None and not unread:
        fix += f". If you meant {data_set}, which looks like a data set, give that"
    return DataError(f"{folder}: this class folder holds no images{fix}")


def _near(path: Path) -> Path | None:
    """What is there, or can be fetched, and is called nearly so."""
    from petclassify.images.public_sets import PUBLIC_SETS  # it loads what downloads

    names = list(PUBLIC_SETS) if len(path.parts) == 1 else []
    with suppress(OSError):
        names += sorted(entry.name for entry in path.parent.iterdir() if entry.is_dir())
    near = nearest(path.name, names)
    return path.parent / near if near else None


def _parent(root: Path) -> Path:
    return root.parent if root.name not in ("", "..") else root / ".."


def _data_set_below(folders: list[Path]) -> Path | None:
    """Follow folders that hold one folder each, down to one that holds class folders."""
    for _ in range(_DEEPEST):
        if len(folders) != 1:
            return None
        if _is_data_set(folders[0]):
            return folders[0]
        folders = _folders(folders[0])
    return None


def _is_data_set(folder: Path) -> bool:
    """Whether at least two folders in it hold images directly, or folders that do."""
    full = [f for f in _folders(folder) if _images(f) or any(map(_images, _folders(f)))]
    return len(full) >= 2


def _folders(folder: Path) -> list[Path]:
    try:
        return list_folder(folder)[0]
    except UnlistableError:
        return []


def _images(folder: Path) -> list[Path]:
    try:
        return list_folder(folder)[1]
    except UnlistableError:
        return []
