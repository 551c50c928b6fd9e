"""Text as terminals show it: its width, what is safe to print, and few colours.

Colours are from the eight that every theme adapts, and never needed: what a colour says stands
there in words too. Yellow and white are left out, which nobody can read on a light background;
bold follows the theme's own foreground. Nothing is coloured where the stream is no terminal,
NO_COLOR is set (no-color.org), or TERM is dumb.
"""

from __future__ import annotations

import os
from typing import Literal, TextIO

Style = Literal["bold", "red", "magenta"]

_CODES: dict[Style, str] = {"bold": "1", "red": "31", "magenta": "35"}


def takes_colour(stream: TextIO) -> bool:
    """Whether a stream shows colours, and its reader wants them."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def coloured(text: str, style: Style, stream: TextIO) -> str:
    """The text in a style, as it is where the stream shows none."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if takes_colour(stream) else text


def padded(text: str, width: int) -> str:
    """The text with blanks after it, `width` columns of a terminal in all."""
    return text + " " * (width - screen_width(text))


def screen_width(text: str) -> int:
    """How many columns of a terminal a text takes; Chinese signs and emoji take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # loaded for those who need it: it takes 2 ms

    return cell_len(text)


def printable(text: str) -> str:
    """Escape what could break a line or command a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
