"""A run's photos.csv, read back: which photos it learned from, and which it was judged on."""

from __future__ import annotations

import csv
import io
from pathlib import Path


def read_photo_table(run: Path) -> list[dict[str, str]]:
    """Its rows by column. Names that are not UTF-8 keep their bytes as surrogates.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no whole table of photos.

    """
    text = (run / "photos.csv").read_bytes().decode("utf-8", "surrogateescape")
    table = csv.DictReader(io.StringIO(text))
    try:
        rows = list(table)
    except csv.Error as error:
        raise ValueError(str(error)) from error
    columns = {"path", "split", "class_name", "sha256"}
    if not columns <= {*(table.fieldnames or ())} or any(None in row.values() for row in rows):
        raise ValueError("no table of photos")
    return rows
