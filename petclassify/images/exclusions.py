"""The list of photos to leave out: what `data check` writes, people edit, and `train` honours.

A CSV with a column `path` and whatever other columns. A path is one below the data set, as
`data check` writes it, or one from here, as `predict` does. Spreadsheets that save it anew may put
a byte order mark in front, or semicolons or tabs for commas.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from petclassify.errors import DataError, UsageError
from petclassify.files import write_whole
from petclassify.images.index import Index

log = logging.getLogger(__name__)

_COLUMN = "path"


def write_exclusions(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    """Write names with reasons. Names keep their own bytes.

    Raises:
        EnvironmentFault: the file cannot be written.

    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow([_COLUMN, "reason"])
    table.writerows(rows)
    write_whole(path, text.getvalue().encode("utf-8", "surrogateescape"))


def read_exclusions(path: Path) -> list[str]:
    """Read the paths of a list.

    Raises:
        UsageError: there is no such list in this file.

    """
    if path.is_char_device() or path.is_block_device():
        raise UsageError(f"{path}: is a device, not a list to exclude")
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{path}: the list to exclude cannot be read: {reason}") from error
    header = text.splitlines()[0] if text else ""
    delimiter = next((sign for sign in ",;\t" if sign in header), ",")
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        if _COLUMN in (table.fieldnames or ()):
            return [row[_COLUMN] for row in table if row[_COLUMN]]
        why = f"no column '{_COLUMN}'"
    except csv.Error as error:
        why = str(error)
    if "\0" in header:
        why = "it seems to be UTF-16: save it as CSV UTF-8"
    raise UsageError(
        f"{path}: not a list to exclude ({why}). Expected a CSV file with a column '{_COLUMN}', "
        "as petclassify data check --write-exclude makes it"
    )


def leave_out(index: Index, path: Path) -> Index:
    """The same data set without the photos of a list.

    Raises:
        UsageError: it names no photo of this data set; or see `read_exclusions`.
        DataError: a class would have no photo left.

    """
    names = {
        sample.path: os.path.relpath(sample.path, index.root)
        for samples in index.splits.values()
        for sample in samples
    }
    listed = _find_listed(index.root, path, set(names.values()))
    splits = {
        split: tuple(sample for sample in samples if names[sample.path] not in listed)
        for split, samples in index.splits.items()
    }
    for split, samples in splits.items():
        left = {sample.label for sample in samples}
        for label, class_name in enumerate(index.class_names):
            if label not in left:
                where = "" if index.flat else f" in {split}"
                raise DataError(
                    f"{index.root}: {path} leaves no photo of the class {class_name}{where}. "
                    "Take some of its lines out"
                )
    from_test = len(index.splits.get("test", ())) - len(splits.get("test", ()))
    if from_test:
        log.warning(
            "%s leaves out %d test photo(s); test figures are of the others, so look at each",
            *(path, from_test),
        )
    excluded = tuple(name for name in names.values() if name in listed)
    return replace(index, splits=splits, excluded=excluded)


def _find_listed(root: Path, path: Path, names: set[str]) -> set[str]:
    """Those of the photos' names that a list means."""
    entries = dict.fromkeys(read_exclusions(path))
    below = {entry: os.path.normpath(entry) for entry in entries}
    from_here = {entry: os.path.relpath(entry, root) for entry in entries}
    found = {e: n for way in (from_here, below) for e, n in way.items() if n in names}
    strange = [entry for entry in entries if entry not in found]
    if strange:
        finding = (
            f"{path}: {len(strange):,} of {len(entries):,} entries name no photo of {root} "
            f"and leave none out, for example {strange[0]}"
        )
        if not found:
            raise UsageError(
                f"{finding}. Name photos as {root} does, <class>/<image>.jpg, or go on without it"
            )
        log.warning("%s", finding)
    return set(found.values())
