"""Taking files out of an archive that nobody trusts.

Names, sizes and kinds in an archive are claims. Only regular files are written, only by
names that stay inside a folder which was not there before (so no link in it can lead
out), and bytes are counted as they are written. Owners, permissions and times are not
taken over. Python's own `filter="data"` came to 3.11 late and counts nothing.
"""

from __future__ import annotations

import errno
import gzip
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from petclassify.errors import EnvironmentFault
from petclassify.files import disk_faults_named


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


Entry = tuple[str, _Readable | None]  # a name in the archive and its content; None for a folder

_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = 4096  # what a tar spends on an entry beside its content: header, long name, padding
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, struct.error),
    *(EOFError, RuntimeError, ValueError, OverflowError, IndexError),
)
_CLASHES = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EILSEQ}
_PLAIN_ZIP = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def extract(archive: Path, target: Path, max_bytes: int, max_files: int) -> None:
    """Write an archive's regular files into a new folder.

    Args:
        archive: a .tar.gz, a .zip, or a .gz of one file.
        target: appears here; gone again when the archive is refused.
        max_bytes: of all files together, unpacked.
        max_files: entries of any kind.

    Raises:
        EnvironmentFault: the archive is damaged, leads out of `target`, holds anything but
            files and folders, or passes a limit; or the disk is full.

    """
    with disk_faults_named(target):
        target.mkdir(parents=True)
        whole = False
        try:
            _write_entries(archive, target, max_bytes, max_files)
            whole = True
        except _DAMAGE as error:
            raise _refused(archive, f"damaged ({type(error).__name__}: {error})") from error
        except OSError as error:
            if error.errno in _CLASHES:
                raise _refused(archive, f"a name that cannot be ({error.strerror})") from error
            raise
        finally:
            if not whole:
                shutil.rmtree(target, ignore_errors=True)


def _write_entries(archive: Path, target: Path, max_bytes: int, max_files: int) -> None:
    left = max_bytes
    for number, (name, content) in enumerate(_entries(archive, max_bytes, max_files), start=1):
        if number > max_files:
            raise _refused(archive, f"more than {max_files} entries")
        place = target.joinpath(*_parts_inside(archive, name))
        if content is None:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as stream:
            while chunk := content.read(min(_CHUNK_BYTES, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise _refused(archive, f"more than {max_bytes} bytes when unpacked")
                stream.write(chunk)


def _entries(archive: Path, max_bytes: int, max_files: int) -> Iterator[Entry]:
    if archive.name.endswith((".tar.gz", ".tgz")):
        yield from _tar_entries(archive, max_bytes + (max_files + 1) * _BLOCK_BYTES)
    elif archive.name.endswith(".zip"):
        yield from _zip_entries(archive)
    elif archive.name.endswith(".gz"):
        with gzip.open(archive) as content:
            yield archive.name.removesuffix(".gz"), content
    else:
        raise _refused(archive, "neither .tar.gz nor .zip nor .gz")


def _tar_entries(archive: Path, max_stream_bytes: int) -> Iterator[Entry]:
    with gzip.open(archive) as unpacked:
        counted = _Counted(archive, unpacked, max_stream_bytes)
        with tarfile.open(fileobj=counted, mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                if member.isdir():
                    yield member.name, None
                elif member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
                    yield member.name, tar.extractfile(member)
                else:
                    raise _refused(archive, f"{member.name!r} is a link, a device or the like")


class _Counted:
    """A stream that ends in an error: tarfile reads long names whole, however long they are."""

    def __init__(self, archive: Path, stream: _Readable, max_bytes: int) -> None:
        self._archive = archive
        self._stream = stream
        self._left = self._max_bytes = max_bytes

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(min(size, self._left + 1))
        self._left -= len(chunk)
        if self._left < 0:
            raise _refused(self._archive, f"more than {self._max_bytes} bytes when unpacked")
        return chunk


def _zip_entries(archive: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, f"{info.filename!r} is a link, a device or the like")
            if info.compress_type not in _PLAIN_ZIP:
                raise _refused(archive, f"{info.filename!r} is packed by an unusual method")
            if info.is_dir():
                yield info.orig_filename, None
                continue
            with packed.open(info) as content:
                yield info.orig_filename, content
                if content.tell() != info.file_size:
                    raise _refused(archive, f"{info.filename!r} is not as long as it claims")


def _parts_inside(archive: Path, name: str) -> tuple[str, ...]:
    """Split a name into parts that lead nowhere but down, on Windows too."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0"):
        raise _refused(archive, f"the name {name!r} leads out of the folder")
    return path.parts


def _refused(archive: Path, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"{archive}: refused: {why}. Nothing of it was unpacked; delete it and fetch it again"
    )
