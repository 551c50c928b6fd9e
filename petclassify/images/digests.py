"""Naming photos by their content, so that copies are found and caches are never wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from petclassify.cores import usable_cores
from petclassify.errors import ImageError, ImageFault

MAX_PHOTO_BYTES = 1 << 30  # the largest photo has 400 MB; to digest so much takes about a second


def digest_photo(path: Path) -> str | ImageError:
    """As `digest_file`; what is longer than any photo is refused unread."""
    with suppress(OSError):  # which digest_file says
        size_bytes = path.stat().st_size
        if size_bytes > MAX_PHOTO_BYTES:
            reason = f"{size_bytes >> 20} MiB, more than the limit of {MAX_PHOTO_BYTES >> 20} MiB"
            return ImageError(ImageFault.TOO_LARGE, reason, path)
    return digest_file(path)


def digest_file(path: Path) -> str | ImageError:
    """Return the SHA-256 of a file's bytes in hex, or why it cannot be read."""
    try:
        if not path.is_file():
            what = "not a regular file" if path.exists() else "no such file"
            return ImageError(ImageFault.MISSING, what, path)
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return ImageError(ImageFault.UNREADABLE, f"cannot be read: {reason}", path)


def digest_photos(paths: Sequence[Path]) -> list[str | ImageError]:
    """Digest many photos, in their order; hashing runs beside reading."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(digest_photo, paths))
