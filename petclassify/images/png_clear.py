"""The value of a PNG that is transparent, in the numbers that Pillow holds.

A PNG in grey or colour may name one. Pillow keeps it as the file says it, but widens grey of 2 and
4 bits to 8, and of colour of 16 bits keeps the high bytes: it would make other pixels
transparent, or none.

Source: PNG specification, section 11.3.2.1.
"""

from __future__ import annotations

from PIL.PngImagePlugin import PngImageFile

_WIDENED_BY = {"L;2": 85, "L;4": 17}  # by Pillow's raw mode
_HIGH_BYTES = "RGB;16B"


def widen_clear_value(image: PngImageFile) -> None:
    """Make it so in an image that is opened and not decoded."""
    clear = image.info.get("transparency")
    raw_mode = image.tile[0][3] if image.tile else ""
    if isinstance(clear, int) and raw_mode in _WIDENED_BY:
        image.info["transparency"] = clear * _WIDENED_BY[raw_mode]
    elif isinstance(clear, tuple) and raw_mode == _HIGH_BYTES:
        image.info["transparency"] = tuple(value >> 8 for value in clear)
