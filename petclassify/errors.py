"""Every way in which a command can fail as expected, and the exit code of each.

An expected failure is one line: what is wrong, why, what to do. Whatever else
escapes is a bug (exit code 1).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from pathlib import Path

_LONGEST_LINE = 400  # characters of another library's words in a message


class ExitCode(IntEnum):
    """The exit codes of the command line."""

    DONE = 0
    BUG = 1
    USAGE = 2
    SOME_IMAGES_FAILED = 3
    DATA = 4
    MODEL = 5
    ENVIRONMENT = 6
    DIVERGED = 7
    INTERRUPTED = 130
    TERMINATED = 143


class PetclassifyError(Exception):
    """An expected failure. Its text is the line that the user reads."""

    exit_code = ExitCode.BUG


class UsageError(PetclassifyError):
    """The request itself makes no sense."""

    exit_code = ExitCode.USAGE


class DataError(PetclassifyError):
    """The data set is unusable as it lies."""

    exit_code = ExitCode.DATA


class ModelError(PetclassifyError):
    """A model file, a checkpoint or a weights file is refused."""

    exit_code = ExitCode.MODEL


class UselessFeaturesError(ModelError):
    """A backbone gives the same for every photo, or what is no number."""


class NoActivationMapsError(ModelError):
    """A model file whose network makes no class activation maps. Gradients may show as much."""


class EnvironmentFault(PetclassifyError):
    """The machine lacks something: disk space, network, an extra."""

    exit_code = ExitCode.ENVIRONMENT


class DivergedError(PetclassifyError):
    """Training gave a loss that is not finite, or features that are of no use."""

    exit_code = ExitCode.DIVERGED


class ImageFault(StrEnum):
    """What is wrong with one image, in the words of the output formats."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    DAMAGED = "damaged"
    TOO_LARGE = "too_large"
    TOO_NARROW = "too_narrow"


class ImageError(PetclassifyError):
    """One image cannot be used.

    Attributes:
        kind: which fault it is.
        reason: the fault in words, without the path.
        path: where the image came from, None for bytes and images in memory.

    """

    exit_code = ExitCode.SOME_IMAGES_FAILED

    def __init__(self, kind: ImageFault, reason: str, path: Path | None = None) -> None:
        super().__init__(reason if path is None else f"{path}: {reason}")
        self.kind = kind
        self.reason = reason
        self.path = path

    def alone(self) -> ImageError:
        """The fault without the frames that it came through, which hold the photo: for keeping."""
        return ImageError(self.kind, self.reason, self.path)

    def __reduce__(self) -> tuple[type[ImageError], tuple[ImageFault, str, Path | None]]:
        """Let it travel between processes, which an exception's own arguments do not allow."""
        return ImageError, (self.kind, self.reason, self.path)


def first_line(error: BaseException) -> str:
    """The first line of an exception's text that is not empty, for messages of one line.

    With the next one, if the first only announces it. A file may make it name a megabyte.
    """
    lines = filter(None, (line.strip() for line in str(error).splitlines()))
    first = next(lines, type(error).__name__)
    told = f"{first} {next(lines, '')}".strip() if first.endswith(":") else first
    return told if len(told) <= _LONGEST_LINE else f"{told[:_LONGEST_LINE]} ..."
