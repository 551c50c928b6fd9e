"""Pages as one file each: Jinja2 templates, pictures inside, nothing fetched, no script.

Jinja2 escapes what a page shows. Names of files and classes may also hold control
characters, turned writing directions and broken UTF-8; `_shown` makes those visible, for
every value of every template, so that no template has to remember it.
"""

from __future__ import annotations

import base64
import io
import re

import jinja2
from markupsafe import Markup
from PIL import Image

import petclassify
from petclassify.terminal import printable

GENERATOR = b'<meta name="generator" content="petclassify'  # by which a page of ours is told
_JPEG_QUALITY = 80
_BROKEN = re.compile("[\ud800-\udfff]")  # bytes of a name that are no UTF-8


def render_page(template: str, **content: object) -> bytes:
    """Fill one of the templates beside this module.

    Args:
        template: its file name; it extends base.html.
        content: what it shows. Markup goes in as it is, all else is escaped.

    Returns:
        The page as UTF-8.

    """
    pages = jinja2.Environment(
        loader=jinja2.PackageLoader("petclassify.report"),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = pages.get_template(template).render(version=petclassify.__version__, **content)
    return page.encode()


def picture_uri(image: Image.Image, longest_side: int) -> Markup:
    """An RGB image, no larger than so many pixels, as the src of an <img>: a JPEG inside."""
    small = image.copy()
    small.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    encoded = base64.b64encode(stream.getvalue()).decode("ascii")
    return Markup(f"data:image/jpeg;base64,{encoded}")  # noqa: S704  base64 holds no markup


def _shown(value: object) -> object:
    """Make visible what a browser would drop, turn round, or refuse."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(_BROKEN.sub("\N{REPLACEMENT CHARACTER}", value))
    return value
