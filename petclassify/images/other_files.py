"""Files that people give in place of photos, told apart by their names and first bytes."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar"})
MODELS = frozenset({".onnx", ".safetensors", ".pth", ".pt", ".ckpt"})
# What phones and cameras write, and this program does not read.
UNREAD_PHOTOS = frozenset(
    {".heic", ".heif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}
)
# ISO 14496-12, 4.3: the size of a box, `ftyp`, and a brand. HEIC is often named .jpg.
_HEIC = re.compile(rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)


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
    """Say how many files below are photos of kinds that are not read; "" if there are none."""
    names = (name for _, _, files in os.walk(folder) for name in files)
    kinds = Counter(Path(name).suffix.lower() for name in names).most_common()
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds if kind in UNREAD_PHOTOS)
    return f"{counts} file(s), which are not read. Convert them to JPEG" if counts else ""
