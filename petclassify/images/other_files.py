"""Files that people give in place of photos, told apart by their names and first bytes."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from petclassify.images.walk import is_image_name, is_shown

ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
MODELS = frozenset({".onnx", ".safetensors", ".pth", ".pt", ".ckpt"})
# What phones and cameras write, and other programs, and this one does not read.
UNREAD_PHOTOS = frozenset(
    {".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
    | {".jp2", ".jxl"}
)
# ISO 14496-12, 4.3: the size of a box, `ftyp`, and a brand. HEIC is often named .jpg.
_HEIC = re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)

# The formats of `images.opening` whose first bytes leave no doubt.
_IMAGE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|....ftypavi[fs]", re.DOTALL
)
_HEAD_BYTES = 16
_MAX_OPENED = 1000  # files whose names are no image's


def is_heic(head: bytes) -> bool:
    """Whether a file that no plugin took begins as HEIC photos do."""
    return _HEIC.match(head) is not None


def remark(path: Path | None, head: bytes) -> str:
    """What a file that is no image is instead, and what to do; "" if that cannot be told."""
    suffix = path.suffix.lower() if path else ""
    if is_heic(head):
        return " (a HEIC photo: convert it to JPEG)"
    if suffix in UNREAD_PHOTOS:
        return f" ({suffix} is not read: convert it to JPEG)"
    if suffix in ARCHIVES:
        return " (an archive: unpack it)"
    if suffix in MODELS:
        return " (a model: give it with --model)"
    return ""


def unread_photos(folder: Path) -> str:
    """Say how many files below are photos by kinds or names that are not read; "" for none."""
    others = list(_others_below(folder))
    kinds = Counter(path.suffix.lower() for path in others).most_common()
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds if kind in UNREAD_PHOTOS)
    found = [f"{counts} file(s), which are not read. Convert them to JPEG"] if counts else []
    odd = [path for path in others if path.suffix.lower() not in UNREAD_PHOTOS]
    misnamed = [path for path in odd[:_MAX_OPENED] if _begins_as_image(path)]
    if misnamed:
        found.append(
            f"{len(misnamed)} image(s) that are not read since their names do not end as those of "
            f"images do, for example {misnamed[0]}. Name them .jpg or so"
        )
    return "; ".join(found)


def _others_below(folder: Path) -> Iterator[Path]:
    """The files that are neither hidden nor called like images."""
    ahead = [folder]  # a folder at a time: before Python 3.12 os.walk's recursion ends at 1,000
    while ahead:
        place, folders, names = next(os.walk(ahead.pop()), ("", [], []))
        for name in sorted(names):
            if is_shown(name) and not is_image_name(name):
                yield Path(place, name)
        below = [Path(place, name) for name in sorted(folders, reverse=True) if is_shown(name)]
        # pathlib's is_symlink raises for a path that is too long.
        ahead += [path for path in below if not os.path.islink(path)]  # noqa: PTH114


def _begins_as_image(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as stream:
            return _IMAGE.match(stream.read(_HEAD_BYTES)) is not None
    except OSError:
        return False
