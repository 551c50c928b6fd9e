"""One process at a time on a folder, by a lock file that goes when the work is done.

The lock is the operating system's: a killed process gives it up. A lock file that a kill
left behind therefore bars nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from petclassify.errors import UsageError
from petclassify.files import disk_faults_named

log = logging.getLogger(__name__)


@contextmanager
def claimed(lock_file: Path, busy: str = "") -> Iterator[None]:
    """Hold a lock file.

    Args:
        lock_file: is made, and removed at the end.
        busy: what to say when another process holds it; without it that one's end is awaited.

    Raises:
        UsageError: another process holds it, and `busy` says so.
        EnvironmentFault: it cannot be written.

    """
    lock = FileLock(lock_file)
    with disk_faults_named(lock_file):
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            if busy:
                raise UsageError(busy) from error
            log.info("waiting for another command, which holds %s", lock_file)
            lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            lock_file.unlink(missing_ok=True)
        lock.release()
