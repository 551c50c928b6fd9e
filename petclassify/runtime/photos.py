"""Which photos the arguments of `predict` name, in order."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from petclassify.errors import DataError, ImageError, ImageFault
from petclassify.images.other_files import unread_photos
from petclassify.images.walk import UnlistableError, walk_past_faults
from petclassify.runtime.object_store import StoredObject, is_uri, list_objects
from petclassify.runtime.scoring import Source
from petclassify.spelling import nearest_beside

log = logging.getLogger(__name__)

STDIN = "-"
_STDIN_DEVICE = "/dev/stdin"
MAX_STDIN_BYTES = 160 << 20  # the largest photo that is allowed, in 8 bits and uncompressed
_OF_A_RUN = ("config.json", "metrics.json", "model.onnx")


def find_photos(inputs: Sequence[str]) -> Iterator[tuple[str, Source]]:
    """Yield what to call each photo, and where it is; folders are walked as they come.

    A folder below an input that cannot be listed is yielded as an error, and the walk goes on.

    Raises:
        DataError: an input is a folder that holds no images or cannot be listed.
        EnvironmentFault: an object store cannot be listed.

    """
    for given in inputs:
        if is_stdin(given):
            yield given, _read_stdin()
        elif os.path.isdir(given):  # noqa: PTH112  # unlike Path's, it takes any name
            yield from _in_run(given) or _not_empty(given, _in_folder(given))
        elif is_stored(given):
            yield from _not_empty(given, list_objects(given))
        elif len(inputs) == 1 and (near := nearest_beside(given)):
            yield given, ImageError(ImageFault.MISSING, f"no such file; did you mean {near}?")
        else:
            yield given, Path(given)


def is_stdin(given: str) -> bool:
    """Whether an input is the image on stdin, under either of its names."""
    return given in (STDIN, _STDIN_DEVICE)


def is_stored(given: str) -> bool:
    """Whether an input lies in an object store: a URI, and no path that is there."""
    return is_uri(given) and not os.path.lexists(given)


def signature_of(source: Source) -> str | None:
    """What changes when a photo's file does: its size and time. None: cannot be told."""
    if isinstance(source, StoredObject):
        return None if source.mtime_ns is None else f"{source.size_bytes} {source.mtime_ns}"
    if not isinstance(source, Path):
        return None
    try:
        status = source.stat()
    except (OSError, ValueError):
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


def _read_stdin() -> Source:
    try:
        content = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1) if sys.stdin else b""
    except OSError as error:
        reason = f"cannot be read: {os.strerror(error.errno or 0).lower()}"
        return ImageError(ImageFault.UNREADABLE, reason)
    if content is None:  # of a pipe that is set not to wait, before anything was sent
        return ImageError(ImageFault.UNREADABLE, "cannot be read: nothing is there yet")
    if len(content) > MAX_STDIN_BYTES:
        reason = f"larger than {MAX_STDIN_BYTES >> 20} MiB. Give a file, by its name"
        return ImageError(ImageFault.TOO_LARGE, reason)
    return content


def _in_run(given: str) -> list[tuple[str, Source]]:
    """The error of a run folder, whose only picture is that of its curves."""
    if not all(os.path.exists(os.path.join(given, name)) for name in _OF_A_RUN):  # noqa: PTH110, PTH118
        return []
    reason = "a run folder, not photos: give it with --model"
    return [(given, ImageError(ImageFault.NOT_AN_IMAGE, reason))]


def _in_folder(given: str) -> Iterator[tuple[str, Source]]:
    folder, empty = Path(given), True
    for found in walk_past_faults(folder):
        empty = False
        if not isinstance(found, UnlistableError):
            yield str(found), found
        elif found.folder == folder:
            raise found
        else:
            yield str(found.folder), ImageError(ImageFault.UNREADABLE, found.reason, found.folder)
    if not empty and (unread := unread_photos(folder)):  # of an empty one, the error says it
        log.warning("%s: %s", given, unread)


def _not_empty(given: str, photos: Iterator[tuple[str, Source]]) -> Iterator[tuple[str, Source]]:
    first = next(photos, None)
    if first is None:
        unread = "" if is_stored(given) else unread_photos(Path(given))
        raise DataError(f"{given}: holds no images{f', but {unread}' if unread else ''}")
    yield first
    yield from photos
