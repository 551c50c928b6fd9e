"""Photos in object stores: s3://, gs://, abfs:// and what else pyarrow reads.

Credentials and regions are the environment's, as pyarrow finds them: AWS_ACCESS_KEY_ID,
AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS and their like. A URI may carry pyarrow's own
options, as in s3://bucket/folder?region=eu-central-1.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from petclassify.errors import EnvironmentFault, ImageError, ImageFault, first_line
from petclassify.images.walk import is_image_name, is_shown

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo

MAX_OBJECT_BYTES = 512 * 1024**2  # above any photo within 50 megapixels
_URI = re.compile(r"[a-z][a-z0-9+.-]+://")


@dataclass(frozen=True)
class StoredObject:
    """One object, by the input that it was found below.

    Attributes:
        root: the URI given, which says how to reach the store.
        path: in that store.
        size_bytes: when it was listed.
        mtime_ns: likewise; None where the store does not say.

    """

    root: str
    path: str
    size_bytes: int
    mtime_ns: int | None

    def read(self) -> bytes:
        """The object's bytes.

        Raises:
            ImageError: it is gone, too large or cannot be reached.

        """
        if self.size_bytes > MAX_OBJECT_BYTES:
            raise ImageError(ImageFault.TOO_LARGE, f"{self.size_bytes} bytes, more than any photo")
        try:
            with _file_system(self.root).open_input_stream(self.path) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise ImageError(ImageFault.MISSING, "no such object") from None
        except (OSError, ValueError) as error:
            raise ImageError(
                ImageFault.UNREADABLE, f"cannot be read: {first_line(error)}"
            ) from error


def is_uri(given: str) -> bool:
    """Whether an input names a place in a store, not on this machine's disks."""
    return _URI.match(given) is not None


def list_objects(uri: str) -> Iterator[tuple[str, StoredObject | ImageError]]:
    """Yield the images below a URI, in the order of a folder's walk, and what to call each.

    Raises:
        EnvironmentFault: the store cannot be reached or knows no such scheme.

    """
    from pyarrow.fs import FileSelector, FileType

    try:
        store, path = _file_system(uri), _path(uri)
        given = store.get_file_info(path)
        below = store.get_file_info(FileSelector(path, recursive=True)) if _is_folder(given) else []
    except (OSError, ValueError) as error:
        raise EnvironmentFault(
            f"{uri}: cannot be listed: {first_line(error)}. Check the URI and the credentials"
        ) from error
    prefix = uri.partition("?")[0].rstrip("/")
    if given.type == FileType.NotFound:
        yield uri, ImageError(ImageFault.MISSING, "no such object")
    elif given.is_file:
        yield prefix, _stored(uri, given)
    for parts, info in sorted(_images(below, path), key=lambda image: image[0]):
        yield "/".join([prefix, *parts]), _stored(uri, info)


def _images(below: list[FileInfo], root: str) -> Iterator[tuple[list[str], FileInfo]]:
    for info in below:
        parts = info.path[len(root) :].strip("/").split("/")
        if info.is_file and is_image_name(info.base_name) and all(map(is_shown, parts)):
            yield parts, info


def _stored(uri: str, info: FileInfo) -> StoredObject:
    return StoredObject(uri, info.path, info.size, info.mtime_ns)


def _is_folder(info: FileInfo) -> bool:
    from pyarrow.fs import FileType

    return bool(info.type == FileType.Directory)


@functools.lru_cache(maxsize=16)
def _opened(uri: str) -> tuple[Any, str]:
    from pyarrow.fs import FileSystem

    store, path = FileSystem.from_uri(uri)
    return store, path


def _file_system(uri: str) -> Any:  # noqa: ANN401
    return _opened(uri)[0]


def _path(uri: str) -> str:
    return _opened(uri)[1]
