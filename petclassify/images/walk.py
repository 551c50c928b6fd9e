"""Finding the image files below a folder, in one order, each folder once."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from petclassify.errors import DataError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif"}
    | {".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
)
_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


class UnlistableError(DataError):
    """A folder that cannot be listed.

    Attributes:
        folder: which one.
        reason: the system's, without the path.

    """

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"{folder}: {reason}")
        self.folder = folder
        self.reason = reason


def is_shown(name: str) -> bool:
    """Whether a file or folder is neither hidden nor what operating systems drop."""
    return not name.startswith(".") and name.lower() not in _LITTER


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as those of images do."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """List a folder's subfolders and image files, each in sorted order.

    Hidden files and what operating systems drop (.DS_Store, Thumbs.db, __MACOSX) are left out.

    Raises:
        UnlistableError: the folder cannot be listed.

    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unlistable(folder, error) from error
    shown = [entry for entry in found if is_shown(entry.name)]
    folders = [folder / entry.name for entry in shown if _is_folder(entry)]
    images = [
        folder / entry.name for entry in shown if is_image_name(entry.name) and _may_be_read(entry)
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


def walk_images(
    folder: Path,
    visited: Visited | None = None,
    is_closed: Callable[[Path], bool] | None = None,
) -> Iterator[Path]:
    """Yield every image file below a folder, sorted by path.

    Links to folders are followed; a folder that was visited already, as in a loop of
    links, is not entered again.

    Args:
        folder: where to start.
        visited: folders not to enter, added to on the way; for several walks as one.
        is_closed: whether a folder below is not to be entered, whichever way leads there.

    Raises:
        UnlistableError: a folder cannot be listed.

    """
    for found in walk_past_faults(folder, visited, is_closed):
        if isinstance(found, UnlistableError):
            raise found
        yield found


def walk_past_faults(
    folder: Path,
    visited: Visited | None = None,
    is_closed: Callable[[Path], bool] | None = None,
) -> Iterator[Path | UnlistableError]:
    """Walk as `walk_images` does; a folder that cannot be listed is yielded as its error."""
    visited = set() if visited is None else visited
    ahead = [(folder, True)]  # the next one last; no recursion, which ends at 1,000 folders
    while ahead:
        path, is_folder = ahead.pop()
        if not is_folder:
            yield path
            continue
        try:
            status = path.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in visited:
                continue
            visited.add(identity)
            folders, images = list_folder(path)
        except UnlistableError as error:
            yield error
            continue
        except OSError as error:
            yield _unlistable(path, error)
            continue
        found = [(image, False) for image in images]
        found += [(sub, True) for sub in folders if is_closed is None or not is_closed(sub)]
        ahead += sorted(found, key=lambda one: one[0].name, reverse=True)


def _unlistable(folder: Path, error: OSError) -> UnlistableError:
    reason = (error.strerror or str(error)).lower()
    return UnlistableError(folder, f"cannot be listed: {reason}")
