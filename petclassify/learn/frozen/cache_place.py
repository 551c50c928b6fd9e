"""Where the caches lie, told without loading torch."""

from __future__ import annotations

from pathlib import Path

import platformdirs


def cache_folder(chosen: Path | None) -> Path:
    """The folder that holds the caches: the chosen one, else the user's own."""
    return chosen or platformdirs.user_cache_path("petclassify")
