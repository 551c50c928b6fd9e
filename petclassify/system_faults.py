"""What the operating system refuses, in one line, wherever it comes up.

Code that knows what a file is for says it better, and with the exit code of that. This is for
the rest: folders that may not be entered lie in the way of every path, a working folder may be
deleted at any time, and disks fail.
"""

from __future__ import annotations

import errno
import os

from petclassify.errors import EnvironmentFault, PetclassifyError, UsageError
from petclassify.files import FULL_DISK, is_working_folder_gone

WORKING_FOLDER_GONE = "the working folder was deleted. Change to another and run the command again"

_FULL = ("the disk is full", "Free some space and run the command again")
_DENIED = ("permission denied", "Change its permissions or those of the folders above it")
_BROKEN = ("the disk gave an error", "Check it, and run the command again")
_TOO_MANY = ("too many open files", "Allow more, with ulimit -n")
_FAULTS = {
    **dict.fromkeys(FULL_DISK, _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _DENIED),
    **dict.fromkeys((errno.EIO, errno.ESTALE), _BROKEN),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _TOO_MANY),
    errno.EROFS: ("the disk is read-only", "Choose another folder"),
    errno.ENAMETOOLONG: ("name too long", "Choose a shorter one"),
    errno.ENOMEM: ("the memory is full", "Close other programs and run the command again"),
}


def fault_of_system(error: Exception) -> PetclassifyError | None:
    """What the system refused and what to do; None where the fault is the program's own."""
    if isinstance(error, MemoryError) or _is_unmapped(error):
        error = OSError(errno.ENOMEM, "")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return EnvironmentFault(
            "no more threads may be started. Allow more, with ulimit -u or in the container"
        )
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOENT and is_working_folder_gone():
        return EnvironmentFault(WORKING_FOLDER_GONE)
    if error.errno not in _FAULTS:
        return None
    why, fix = _FAULTS[error.errno]
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    is_given = error.errno == errno.ENAMETOOLONG  # no file can be called so
    return (UsageError if is_given else EnvironmentFault)(f"{where}{why}. {fix}")


def _is_unmapped(error: Exception) -> bool:
    """Whether a library could not be loaded for want of memory, as torch under `ulimit -v`."""
    return isinstance(error, ImportError) and any(
        said in str(error) for said in ("failed to map segment", "cannot allocate memory")
    )
