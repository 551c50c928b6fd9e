"""How many workers keep this process's processors busy."""

from __future__ import annotations

import math
import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """The processors that this process may use, at least 1; a container may allow fewer."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _quota())
    return os.cpu_count() or 1


def _quota() -> int:
    """How many processors' time Linux lets this process's control group have, rounded up.

    Source: cgroup v2, "cpu.max": microseconds in each period, or "max".
    """
    try:
        allowed, period = map(int, _QUOTA.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return os.cpu_count() or 1
    return max(1, math.ceil(allowed / period))
