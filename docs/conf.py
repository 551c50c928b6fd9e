"""How Sphinx builds these pages: `make docs`, then open docs/_build/html/index.html.

The pages are Markdown, so that GitHub shows them too. Links between them are links between
files, and a link to a heading is checked by Sphinx (`myst_heading_anchors`).
"""

import re
from typing import Any

import petclassify

project = "petclassify"
author = "The petclassify authors"
copyright = f"2026, {author}"  # Sphinx's own word for it
version = release = petclassify.__version__

extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
smartquotes = False  # two dashes are the beginning of an option
nitpicky = True

html_theme = "furo"
html_title = "petclassify"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_favicon = "static/icon.svg"
html_copy_source = False
html_show_sphinx = False


def _offer_files_outside(_app: Any, _docname: str, source: list[str]) -> None:
    """Let links to files beside docs/, which GitHub follows, lead to the files themselves.

    MyST would look for a page where the file is Markdown. A file that is not there is a warning.
    """
    source[0] = re.sub(r"\]\((\.\./[^)#]+)(?:#[^)]*)?\)", r"](path:\1)", source[0])


def setup(app: Any) -> None:
    """Sphinx calls it."""
    app.connect("source-read", _offer_files_outside)
