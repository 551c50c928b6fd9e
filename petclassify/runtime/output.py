"""Predictions as rows: a table for people, JSON lines, CSV and Parquet for programs.

JSON escapes what is not ASCII, so any file name survives, broken UTF-8 included (as lone
surrogates, the way Python names such files). CSV is RFC 4180's, UTF-8 with the file's own
bytes; a terminal is shown it as the table is. That has control characters escaped: a name cannot
break a line or recolour a terminal. Parquet is written by `runtime.parquet`.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TextIO

from petclassify.errors import ImageError, ImageFault, UsageError
from petclassify.runtime.classifier import Prediction
from petclassify.runtime.scoring import Scored
from petclassify.terminal import coloured, padded, printable, screen_width

Format = Literal["table", "jsonl", "csv", "parquet"]
WriteRow = Callable[[Scored], None]

# How each format begins, and what the footer of a Parquet file, which lists its columns, holds.
_OF_OURS = re.compile(
    rb"""path,label,probability,known,familiarity,|\{"path": ".*?", "(?:label|error)": """
    rb"|.+?  (?:[ \d.]{6}%| {7})  ."
)
_PARQUET, _COLUMN = b"PAR1", b"familiarity"
_PARQUET_END = 8  # bytes: the footer's length, and the mark again
_LOOKED_AT = 1 << 16  # bytes, of a file or its footer
_BY_SUFFIX: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_LIKE_IT = {".json": ".jsonl", ".tsv": ".csv", ".xls": ".csv", ".xlsx": ".csv"}


def chosen_format(asked: Format | None, output: Path | None) -> Format:
    """The format asked for, else the one that the output's name ends with, else a table.

    Raises:
        UsageError: the two contradict each other, Parquet is to go to a terminal, or the name
            alone asks for a kind of file that would not be one.

    """
    suffix = output.suffix.lower() if output else ""
    named = _BY_SUFFIX.get(suffix)
    if asked and named and asked != named:
        raise UsageError(f"--format {asked} contradicts --output {output}. Leave one of them out")
    if asked == "parquet" and output is None:
        raise UsageError("--format parquet needs --output FILE")
    if asked is None and suffix in _LIKE_IT:
        raise UsageError(
            f"--output {output}: {suffix} is not written. Name it {_LIKE_IT[suffix]}, or say by "
            "--format what it shall hold"
        )
    return asked or named or "table"


def holds_rows(path: Path) -> bool:
    """Whether a file holds rows that `row_writer` or `runtime.parquet` wrote, or nothing at all."""
    with path.open("rb") as stream:
        head = stream.read(_LOOKED_AT)
        if not head.startswith(_PARQUET):
            return not head or _OF_OURS.match(head) is not None
        end = max(0, os.fstat(stream.fileno()).st_size - _PARQUET_END)
        stream.seek(end)
        stream.seek(max(0, end - int.from_bytes(stream.read(4), "little")))
        return _COLUMN in stream.read(_LOOKED_AT)


def row_writer(
    output_format: Format, stream: TextIO, class_names: Sequence[str], *, force: bool = False
) -> WriteRow:
    """Return the function that writes one outcome in this format.

    Args:
        output_format: of the rows.
        stream: where they go.
        class_names: of the model.
        force: let the table show the closest class of unknown photos as their label. Rows for
            programs always have both, the label and whether the photo is known.

    """
    if output_format == "jsonl":
        return _jsonl(stream)
    if output_format == "csv":
        return _csv(stream, class_names)
    return _table(stream, class_names, force=force)


def to_fields(outcome: Prediction | ImageError) -> dict[str, object]:
    """What programs are told of one photo, in JSON lines and over HTTP alike."""
    if isinstance(outcome, ImageError):
        return {"error": {"kind": outcome.kind, "message": outcome.reason}}
    return {
        "label": outcome.label,
        "probability": outcome.probability,
        "probabilities": outcome.probabilities,
        "known": outcome.known,
        "familiarity": outcome.familiarity,
    }


def outcome_of(fields: dict[str, Any]) -> Prediction | ImageError:
    """The outcome that `to_fields` made these of; every number survives JSON exactly."""
    if error := fields.get("error"):
        return ImageError(ImageFault(error["kind"]), error["message"])
    return Prediction(**fields)


def _jsonl(stream: TextIO) -> WriteRow:
    def write(scored: Scored) -> None:
        row = {"path": scored.name, **to_fields(scored.outcome)}
        stream.write(json.dumps(row) + "\n")

    return write


def _csv(stream: TextIO, class_names: Sequence[str]) -> WriteRow:
    rows = csv.writer(stream)
    # A terminal would obey what is in names.
    shown: Callable[[str], str] = printable if stream.isatty() else str
    of_classes = [f"probability_{name}" for name in class_names]
    measures = ["label", "probability", "known", "familiarity", *of_classes]
    rows.writerow(map(shown, ["path", *measures, "error_kind", "error_message"]))

    def write(scored: Scored) -> None:
        outcome = scored.outcome
        if isinstance(outcome, ImageError):
            blanks = [""] * len(measures)
            row: list[str] = [scored.name, *blanks, outcome.kind, outcome.reason]
        else:
            numbers = [repr(p) for p in outcome.probabilities.values()]
            known = str(outcome.known).lower(), repr(outcome.familiarity)
            first = scored.name, outcome.label, repr(outcome.probability)
            row = [*first, *known, *numbers, "", ""]
        rows.writerow(map(shown, row))

    return write


def _table(stream: TextIO, class_names: Sequence[str], *, force: bool) -> WriteRow:
    width = max(len("unknown"), *(screen_width(printable(name)) for name in class_names))

    def write(scored: Scored) -> None:
        outcome, name = scored.outcome, printable(scored.name)
        if isinstance(outcome, ImageError):
            label = coloured(f"{'error':{width}}", "red", stream)
            stream.write(f"{label}  {'':7}  {name}: {printable(outcome.reason)}\n")
        elif not outcome.known and not force:
            label = coloured(f"{'unknown':{width}}", "magenta", stream)
            closest = f"(closest: {printable(outcome.label)}, {outcome.probability:.2f})"
            stream.write(f"{label}  {'':7}  {name}  {closest}\n")
        else:
            label = padded(printable(outcome.label), width)
            stream.write(f"{label}  {outcome.probability:7.2%}  {name}\n")

    return write
