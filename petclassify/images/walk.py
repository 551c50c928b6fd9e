"""Finding the image files below a folder, in one order, each folder once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from petclassify.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".avif"}
    | {".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".tga"}
)
_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a folder's subfolders and image files, each in sorted order.

    Hidden files and what operating systems drop (.DS_Store, Thumbs.db, __MACOSX) are left out.

    Raises:
        DataError: the folder cannot be listed.

    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{folder}: cannot be listed: {reason}") from error
    shown = [e for e in found if not e.name.startswith(".") and e.name.lower() not in _LITTER]
    folders = [folder / entry.name for entry in shown if _is_folder(entry)]
    images = [
        folder / entry.name
        for entry in shown
        if Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and _may_be_read(entry)
    ]
    return folders, images


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Whether this is a file. A link to nowhere is one too, to be reported; a pipe would hang."""
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return True


Visited = set[tuple[int, int]]  # folders, by device and inode


def walk_images(folder: Path, visited: Visited | None = None) -> Iterator[Path]:
    """Yield every image file below a folder, sorted by path.

    Links to folders are followed; a folder that was visited already, as in a loop of
    links, is not entered again.

    Args:
        folder: where to start.
        visited: folders not to enter, added to on the way; for several walks as one.

    Raises:
        DataError: a folder cannot be listed.

    """
    yield from _walk(folder, set() if visited is None else visited)


def _walk(folder: Path, visited: Visited) -> Iterator[Path]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in visited:
        return
    visited.add(identity)
    folders, images = list_folder(folder)
    subfolders = frozenset(folders)
    for path in sorted([*folders, *images], key=lambda path: path.name):
        if path in subfolders:
            yield from _walk(path, visited)
        else:
            yield path
