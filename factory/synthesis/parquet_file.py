"""Parquet to raw rows: only the needed columns, in batches of bounded size."""

import io
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.synthesis.input_formats import RawRow, check_distinct, detail

BATCH_ROWS = 1024
BATCH_BYTES = 2**24
"""Target size of a batch, before it is converted to Python objects."""
BUFFER_BYTES = 2**23
UNREAD_NAMES = 50
"""The most names of unread columns that a row has, so that a message can list them."""


def parquet_rows(path: str, file: io.BufferedReader, columns: Collection[str] | None) -> Iterator[RawRow]:
    """Yield rows batch by batch, with only some columns (None: all).

    Other columns are not converted: they may be large, or have values that Python does not support. Where one
    of `columns` is missing, the names of unread columns are in the row, with None.

    Raises:
        InputError: a column that is read appears twice.
    """
    # By default Arrow holds a whole row group: 700 MB for a group of 600 MB, and 100 MB with these settings.
    table = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
    names = table.schema_arrow.names
    check_distinct(path, names, columns)
    read = names if columns is None else [name for name in names if name in columns]
    unread = dict.fromkeys(names[:UNREAD_NAMES]) if columns is not None and len(read) < len(columns) else {}
    row = 0
    for group in range(table.num_row_groups):
        if not read:
            rows = range(row, row + table.metadata.row_group(group).num_rows)
            yield from (RawRow(number, dict(unread)) for number in rows)
            row += len(rows)
            continue
        for batch in table.iter_batches(_batch_rows(table, group, read), row_groups=[group], columns=read):
            # Reading "a" also reads a column named "a.b".
            yield from _rows(batch.select(read), row, unread)
            row += len(batch)


def row_count(file: io.BufferedReader) -> int:
    """Return the number of rows, from the file's footer."""
    return int(pq.ParquetFile(file).metadata.num_rows)


def _batch_rows(table: pq.ParquetFile, group: int, read: Collection[str]) -> int:
    """Return the number of rows of a group that are about as large as a batch may be."""
    metadata = table.metadata.row_group(group)
    parts = [metadata.column(number) for number in range(metadata.num_columns)]
    size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.partition(".")[0] in read)
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES * metadata.num_rows // max(size, 1))))


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
        # A date that Python does not support, an unknown time zone, a field that appears twice.
        return RawRow(row, None, "not_text", detail(f"row {row}", f"{type(problem).__name__}: {problem}"))
