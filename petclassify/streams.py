"""stdout and stderr that the work outlives.

What a command is for is mostly a file, or an answer over HTTP; what it prints is news of it.
So where nobody reads any longer (`| head`), or stderr goes to a full disk, the rest is dropped
and the work goes on. Where the rows on stdout are what the command is for, it stops, see
`stop_when_unread`. A full disk under stdout stays a fault: somebody wanted to keep that.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDERR = 2


class _Enduring(io.FileIO):
    """A file descriptor that turns into the null device once nobody listens."""

    raises_when_unread = False

    def write(self, content: ReadableBuffer, /) -> int:
        """Write, or drop it where that is no fault."""
        try:
            return super().write(content)
        except OSError as error:
            # Also after a fault that is told: what is still in the buffer would repeat it at exit.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            unread = error.errno == errno.EPIPE and not self.raises_when_unread
            if not unread and self.fileno() != _STDERR:
                raise
        return memoryview(content).nbytes


def prepare_streams() -> None:
    """Make stdout and stderr of this process what the module's docstring says."""
    _occupy_closed()
    sys.stdout = _prepared(sys.stdout, is_own=sys.stdout is sys.__stdout__)
    sys.stderr = _prepared(sys.stderr, is_own=sys.stderr is sys.__stderr__)


def stop_when_unread() -> None:
    """Let writing rows raise BrokenPipeError when their reader is gone."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Enduring):
        raw.raises_when_unread = True


def _occupy_closed() -> None:
    """Leave none of 0, 1 and 2 to the next file that is opened: libraries print there."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _prepared(stream: TextIO | None, *, is_own: bool) -> TextIO:
    """The same stream in UTF-8, enduring where it is the process's own and no terminal.

    File names need not be valid UTF-8, and are printed as they are.
    """
    if stream is None:  # closed by the shell: >&-
        stream, is_own = Path(os.devnull).open("w", encoding="utf-8"), False  # noqa: SIM115
    assert isinstance(stream, io.TextIOWrapper)
    if not is_own or stream.isatty():
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Enduring(stream.fileno(), "wb", closefd=False)),
        encoding="utf-8",
        errors="surrogateescape",
        line_buffering=stream.line_buffering or stream.write_through,
    )
