"""Where the caches lie, told without loading torch."""

from __future__ import annotations

from pathlib import Path

import platformdirs

from petclassify.errors import EnvironmentFault


def cache_folder(chosen: Path | None) -> Path:
    """The folder that holds the caches: the chosen one, else the user's own.

    Raises:
        EnvironmentFault: this user has no home folder.

    """
    try:
        return chosen or platformdirs.user_cache_path("petclassify")
    except RuntimeError as error:  # of users that a container gives a number only
        raise EnvironmentFault(
            "no folder for the cache is known, since this user has no home. Give one with --cache "
            "DIR, or set HOME"
        ) from error
