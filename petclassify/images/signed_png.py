"""PNGs that say which command made them, so that it replaces its own and nobody else's."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from petclassify.images.opening import DECODING_ERRORS

SIGNED_AS = "Software"  # the keyword that PNG's specification, section 11.3.3.2, has for it


def is_signed(path: Path, software: str) -> bool:
    """Whether a file is a PNG whose text names this as what made it."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with Image.open(path, formats=("PNG",)) as picture:
            return picture.info.get(SIGNED_AS) == software
    except DECODING_ERRORS:
        return False
