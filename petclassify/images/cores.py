"""How many workers keep this process's processors busy."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """The processors that this process may use, at least 1. Containers often allow fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
