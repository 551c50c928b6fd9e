"""What somebody may have meant by a name that is not there."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

_MAX_NAMES = 10_000


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of some names that is spelt most like this one, if one is.

    Of very many only the first are looked at: each takes some microseconds.
    """
    import difflib

    lower = {other.lower(): other for other in itertools.islice(names, _MAX_NAMES)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.7)
    return lower[near[0]] if near else None


def nearest_beside(path: str) -> str | None:
    """What lies beside a path that is not there, and is called nearly so, if anything."""
    folder, name = os.path.split(path)
    if not name or os.path.lexists(path):
        return None
    try:
        near = nearest(name, os.listdir(folder or "."))  # noqa: PTH208
    except (OSError, ValueError):
        return None
    return os.path.join(folder, near) if near else None  # noqa: PTH118
