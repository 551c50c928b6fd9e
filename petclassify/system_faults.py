"""What the operating system and the environment refuse, in one line, wherever it comes up.

Code that knows what a file is for says it better, and with the exit code of that. This is for
the rest: folders that may not be entered lie in the way of every path, a working folder may be
deleted at any time, and disks fail. Libraries read numbers from variables of their own, and trip
over what is none.
"""

from __future__ import annotations

import errno
import os
import re

from petclassify.errors import EnvironmentFault, PetclassifyError, UsageError
from petclassify.files import FULL_DISK, is_working_folder_gone

WORKING_FOLDER_GONE = "the working folder was deleted. Change to another and run the command again"

_FULL = ("the disk is full", "Free some space and run the command again")
_DENIED = ("permission denied", "Change its permissions or those of the folders above it")
_BROKEN = ("the disk gave an error", "Check it, and run the command again")
_GONE = ("the disk or share does not answer", "See that it is there, and run the command again")
_TOO_MANY = ("too many open files", "Allow more, with ulimit -n")
_FAULTS = {
    **dict.fromkeys(FULL_DISK, _FULL),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _DENIED),
    **dict.fromkeys((errno.EIO, errno.ESTALE), _BROKEN),
    **dict.fromkeys((errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENODEV), _GONE),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _TOO_MANY),
    errno.ELOOP: ("a link leads back to itself", "Remove it"),
    errno.EROFS: ("the disk is read-only", "Choose another folder"),
    errno.ENAMETOOLONG: ("name too long", "Choose a shorter one"),
    errno.ENOMEM: ("the memory is full", "Close other programs and run the command again"),
}
_NO_TEMPORARY_FOLDER = "No usable temporary directory"  # in the words of Python's tempfile
_NO_MEMORY = re.compile(
    "allocate memory|out of memory|bad_alloc|bad allocation|failed to map segment", re.IGNORECASE
)
_UNREADABLE = re.compile(
    r"(?:invalid literal for int\(\) with base \d+|could not convert string to float): '(.+)'"
    r"|\s*Invalid log settings: (.+), must be .*",  # torch's
    re.DOTALL,
)


def fault_of_system(error: Exception) -> PetclassifyError | None:
    """What the system refused and what to do; None where the fault is the program's own."""
    # Our own messages name files, which may be called anything.
    told = error.__cause__ if isinstance(error, PetclassifyError) else error
    if isinstance(told, Exception) and is_out_of_memory(told):
        error = OSError(errno.ENOMEM, "")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return EnvironmentFault(
            "no more threads may be started. Allow more, with ulimit -u or in the container"
        )
    if isinstance(error, ValueError):
        return _fault_of_variable(str(error))
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.ENOENT and is_working_folder_gone():
        return EnvironmentFault(WORKING_FOLDER_GONE)
    if error.errno == errno.ENOENT and _NO_TEMPORARY_FOLDER in str(error):
        return EnvironmentFault(
            "no folder for temporary files can be written, or its disk is full. Free some space, "
            "or name one with TMPDIR"
        )
    if error.errno not in _FAULTS:
        return None
    why, fix = _FAULTS[error.errno]
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    is_given = error.errno == errno.ENAMETOOLONG  # no file can be called so
    return (UsageError if is_given else EnvironmentFault)(f"{where}{why}. {fix}")


def _fault_of_variable(message: str) -> EnvironmentFault | None:
    refused = _UNREADABLE.fullmatch(message)
    names = [name for name, value in os.environ.items() if refused and value in refused.groups()]
    if not names:
        return None
    return EnvironmentFault(
        f"the environment variable {names[0]} is {os.environ[names[0]]!r}, which a library cannot "
        "read. Set it to what it takes, mostly a number, or unset it"
    )


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is want of memory, which torch and the engines raise as all sorts of errors."""
    is_told = not isinstance(error, OSError) and _NO_MEMORY.search(str(error)) is not None
    return isinstance(error, MemoryError) or is_told
