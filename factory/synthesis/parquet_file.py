"""Parquet to raw rows: the columns that are needed, in batches of bounded size."""

import io
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.synthesis.input_formats import RawRow, check_names, detail

BATCH_ROWS = 1024
BATCH_BYTES = 2**24
"""About how much of the columns a batch has, before Python's objects are made of it."""
BUFFER_BYTES = 2**23
NAMES = 50
"""How many columns that are not read a row names, so that a message can name them."""


def parquet_rows(path: str, file: io.BufferedReader, columns: Collection[str] | None) -> Iterator[RawRow]:
    """Read rows batch by batch, of some columns alone (None: all).

    What nobody needs is not even converted: it may be large, or nothing that Python can hold. Where one of
    `columns` is missing, the columns that are not read stand in the row as None.

    Raises:
        InputError: a column that is read stands twice.
    """
    # Arrow's defaults hold a whole row group: 700 MB for one of 600 MB, against 100 MB so.
    table = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
    names = table.schema_arrow.names
    check_names(path, names, columns)
    read = names if columns is None else [name for name in names if name in columns]
    unread = dict.fromkeys(names[:NAMES]) if columns is not None and len(read) < len(columns) else {}
    row = 0
    for group in range(table.num_row_groups):
        if not read:
            rows = range(row, row + table.metadata.row_group(group).num_rows)
            yield from (RawRow(number, dict(unread)) for number in rows)
            row += len(rows)
            continue
        for batch in table.iter_batches(_batch_rows(table, group, read), row_groups=[group], columns=read):
            # A column named "a.b" comes with "a", if that is what is read.
            yield from _rows(batch.select(read), row, unread)
            row += len(batch)


def row_count(file: io.BufferedReader) -> int:
    """Return how many rows there are, by the end of the file alone."""
    return int(pq.ParquetFile(file).metadata.num_rows)


def _batch_rows(table: pq.ParquetFile, group: int, read: Collection[str]) -> int:
    """Return how many rows of a group are about as large as a batch may be."""
    about = table.metadata.row_group(group)
    parts = [about.column(number) for number in range(about.num_columns)]
    size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.partition(".")[0] in read)
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES * about.num_rows // max(size, 1))))


def _rows(batch: pa.RecordBatch, first: int, unread: dict[str, Any]) -> Iterator[RawRow]:
    try:
        values = batch.to_pylist()
    except (ValueError, OverflowError, LookupError):
        yield from (_row(batch.slice(number, 1), first + number, unread) for number in range(len(batch)))
    else:
        for row, value in enumerate(values, first):
            yield RawRow(row, unread | value if unread else value)


def _row(single: pa.RecordBatch, row: int, unread: dict[str, Any]) -> RawRow:
    try:
        return RawRow(row, unread | single.to_pylist()[0])
    except UnicodeDecodeError as problem:
        raw = problem.object.decode("utf-8", "surrogateescape")
        return RawRow(row, None, "not_utf8", detail(f"row {row}", raw))
    except (ValueError, OverflowError, LookupError) as problem:
        # A date that Python cannot hold, an unknown time zone, a field that stands twice.
        return RawRow(row, None, "not_text", detail(f"row {row}", f"{type(problem).__name__}: {problem}"))
