r"""Predictions as Parquet, with the columns of the CSV: one a class, nulls where it has blanks.

Parquet's text is UTF-8. A name that is not has its broken bytes escaped (`\udcff`), as the
table shows them; JSON lines and CSV keep them as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from petclassify.errors import ImageError
from petclassify.runtime.output import WriteRow
from petclassify.runtime.scoring import Scored

ROWS_PER_GROUP = 8192  # what is held in memory


@contextmanager
def parquet_writer(path: Path, class_names: Sequence[str]) -> Iterator[WriteRow]:
    """Give the function that writes one outcome; rows are written in groups."""
    schema = _schema(class_names)
    waiting: list[tuple[object, ...]] = []

    def flush() -> None:
        columns = zip(*waiting, strict=True) if waiting else [()] * len(schema)
        arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
        file.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROWS_PER_GROUP)
        waiting.clear()

    def write(scored: Scored) -> None:
        waiting.append(_row(scored, len(class_names)))
        if len(waiting) == ROWS_PER_GROUP:
            flush()

    with path.open("wb") as stream, pq.ParquetWriter(stream, schema) as file:
        yield write
        flush()


def _schema(class_names: Sequence[str]) -> pa.Schema:
    probabilities = [(f"probability_{_utf8(name)}", pa.float32()) for name in class_names]
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            ("label", pa.string()),
            ("probability", pa.float32()),
            ("known", pa.bool_()),
            ("familiarity", pa.float32()),
            *probabilities,
            ("error_kind", pa.string()),
            ("error_message", pa.string()),
        ]
    )


def _row(scored: Scored, num_classes: int) -> tuple[object, ...]:
    name, outcome = _utf8(scored.name), scored.outcome
    if isinstance(outcome, ImageError):
        return name, *[None] * (4 + num_classes), str(outcome.kind), _utf8(outcome.reason)
    measures = outcome.probability, outcome.known, outcome.familiarity
    return name, _utf8(outcome.label), *measures, *outcome.probabilities.values(), None, None


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
