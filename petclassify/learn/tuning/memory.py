"""Memory in training: what a step frees is kept for the next one, and want of it is named.

A step frees hundreds of megabytes of activations. glibc hands blocks of that size back to
the system at once, and the next step has every page of them cleared and mapped again; on
two cores that costs 5 to 10 % of a step.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from petclassify.errors import EnvironmentFault
from petclassify.system_faults import is_out_of_memory

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed. Other C libraries have no such switch, or no need."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def memory_faults_named() -> Iterator[None]:
    """Turn what torch and NumPy raise for want of memory into one line with the way out."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise EnvironmentFault(
            "out of memory. Train anew with a smaller --batch-size or --image-size, or with "
            "fewer open layers (--unfreeze last)"
        ) from error
