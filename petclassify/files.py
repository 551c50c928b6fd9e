"""Writing so that nothing half-written is ever read as whole."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from petclassify.errors import EnvironmentFault

FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
# Of disks of other kinds: a file that is mounted by itself, names or locks that they do not know,
# a share that is gone.
_UNFIT = {
    *(errno.EBUSY, errno.EINVAL, errno.EILSEQ, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP),
    *(errno.ENOTCONN, errno.ETIMEDOUT),
}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary file beside it, flush, replace.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written. What was at
            `path` before is still there.

    """
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, and put it in place at the end.

    Raises:
        EnvironmentFault: see `write_whole`.

    """
    path = replaceable(path)
    with disk_faults_named(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
        temporary = Path(name)
        try:
            os.close(handle)
            yield temporary
            with temporary.open("r+b") as stream:  # Windows flushes only what it may write
                os.fsync(stream.fileno())
            with suppress(OSError):  # shares and sticks may know no permissions, or whose they are
                temporary.chmod(_permissions(path))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def replaceable(path: Path) -> Path:
    """The place that a path names, through links, where a file is or may be made.

    Raises:
        EnvironmentFault: something else is there, or there is no such folder.

    """
    given, path = path, Path(os.path.realpath(path))  # a link stays, what it names is replaced
    with disk_faults_named(path):
        if (os.path.exists(given) or os.path.lexists(path)) and not os.path.isfile(given):  # noqa: PTH110, PTH113
            raise EnvironmentFault(f"{given}: cannot be written, it is {_kind(given)}. Name a file")
        if _is_printed_to(path):
            raise EnvironmentFault(
                f"{given}: cannot be replaced, stdout or stderr goes there. Name another file"
            )
        if not path.parent.is_dir():
            raise EnvironmentFault(f"{path}: cannot be written, there is no folder {path.parent}")
    return path


def _kind(path: Path) -> str:
    return "a folder" if os.path.isdir(path) else "no regular file"  # noqa: PTH112 (lone surrogates)


def _is_printed_to(path: Path) -> bool:
    """Whether a shell sent stdout or stderr to this file, as behind /dev/stdout; it may append."""
    with suppress(OSError):
        status = path.stat()
        return any(os.path.samestat(status, os.fstat(descriptor)) for descriptor in (1, 2))
    return False


@contextmanager
def disk_faults_named(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into one line with the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK:
            raise EnvironmentFault(
                f"{path}: the disk is full; nothing half-written is left. Free some space "
                "and run the command again"
            ) from error
        if error.errno in _FORBIDDEN | _IN_THE_WAY | _UNFIT:
            raise EnvironmentFault(
                f"{path}: cannot be written ({error.strerror}). Choose another folder"
            ) from error
        gone = not os.path.isdir(path.parent) and not is_working_folder_gone()  # noqa: PTH112
        if error.errno == errno.ENOENT and gone:
            raise EnvironmentFault(
                f"{path}: cannot be written, the folder {path.parent} was removed meanwhile"
            ) from error
        raise


def is_working_folder_gone() -> bool:
    """Whether the folder that relative paths start from was deleted."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _permissions(path: Path) -> int:
    """Those of the file that is replaced: it may be private. Of a new one, what the umask leaves.

    mkstemp ignores the umask, and reading it means setting it twice.
    """
    with suppress(OSError):
        return path.stat().st_mode & 0o777
    mask = os.umask(0o077)
    os.umask(mask)
    return 0o666 & ~mask
