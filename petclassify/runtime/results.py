"""Rows for programs, written so that a long job survives being killed.

Predictions gather in a partial result beside the output (see `runtime.partial`) and become
rows of the format asked for at the end, all at once. So one mechanism serves every format, of
which Parquet cannot be appended to, and the file is the same, byte for byte, whether or not
the job was broken off. What was scored before is not scored again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import petclassify
from petclassify.errors import ImageError
from petclassify.files import disk_faults_named, written_whole
from petclassify.runtime.output import Format, WriteRow, row_writer
from petclassify.runtime.partial import PartialResult, opened_partial
from petclassify.runtime.scoring import Scored, Source, Tally

log = logging.getLogger(__name__)

Score = Callable[[Iterable[tuple[str, Source]]], Iterator[Scored]]


def write_results(
    score: Score,
    photos: Iterable[tuple[str, Source]],
    model_digest: str,
    class_names: Sequence[str],
    output_format: Format,
    output: Path,
) -> Tally:
    """Score what is not scored yet, then write the rows of all photos, in their order.

    Args:
        score: scores photos in the order given.
        photos: what to call each, and where it is.
        model_digest: SHA-256 of the model file.
        class_names: of the model.
        output_format: of the rows, not "table".
        output: the file.

    Raises:
        UsageError, EnvironmentFault: see `opened_partial` and `files.written_whole`.

    """
    origin = f"petclassify {petclassify.__version__}, model {model_digest}"
    total = failed = 0
    with opened_partial(output, origin) as partial:
        if partial.count:
            log.info("%s: an earlier run was stopped after %d photos", output, partial.count)
        with _way_on_told(output, partial):
            for scored in score(partial.unscored(photos)):
                partial.add(scored)
        with _opened_rows(output_format, output, class_names) as write:
            for scored in partial.rows():
                write(scored)
                total += 1
                failed += isinstance(scored.outcome, ImageError)
        return Tally(total - failed, failed, partial.kept)


@contextmanager
def _way_on_told(output: Path, partial: PartialResult) -> Iterator[None]:
    """Say to whoever stops the command, by a signal, how it goes on."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        if partial.count:
            log.info("%s: %d photos are scored; the same command goes on", output, partial.count)
        raise


@contextmanager
def _opened_rows(
    output_format: Format, output: Path, class_names: Sequence[str]
) -> Iterator[WriteRow]:
    with written_whole(output) as temporary, disk_faults_named(output):
        if output_format == "parquet":
            from petclassify.runtime.parquet import parquet_writer

            with parquet_writer(temporary, class_names) as write:
                yield write
        else:
            with temporary.open(
                "w", encoding="utf-8", errors="surrogateescape", newline=""
            ) as stream:
                yield row_writer(output_format, stream, class_names)
