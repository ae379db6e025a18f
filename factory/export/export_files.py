"""Exported rows to files of about a size, whole or not at all: `<part>-00000-of-00004.jsonl`, or Parquet.

The number of files stands in their names, so it is settled before the first row, by a sample.
"""

import io
import itertools
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from factory.storage import file_io
from factory.storage.local_files import DRAFT
from factory.storage.rows import Row

FileType = Literal["jsonl", "parquet"]

SHARD_BYTES = 256 * 2**20
"""Small enough for a loader to read in parallel and for an upload to begin again, large enough to be few."""
ROWS_AT_ONCE = 256
GROUP_ROWS = 4096
GROUP_BYTES = 32 * 2**20
"""A row group is closed at so many rows or bytes: it is what a writer holds in memory."""

_LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}
"""Line ends to `str.splitlines` and to editors, though not to JSON, which escapes those below a space itself."""


def json_line(row: Row) -> bytes:
    """A row as one line of JSON, in UTF-8."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS).encode() + b"\n"


def shard_name(part: str, number: int, of: int, file_type: FileType) -> str:
    """Such as `train-00000-of-00004.jsonl`, as `datasets` and the Hub name them."""
    return f"{part}-{number:05}-of-{of:05}.{file_type}"


def size_of(rows: Sequence[Row], schema: pa.Schema, file_type: FileType) -> int:
    """Bytes that some rows take in a file."""
    if file_type == "jsonl":
        return sum(len(json_line(row)) for row in rows)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd")
    return buffer.tell()


def cut(rows: int, bytes_per_row: float, shard_bytes: int = SHARD_BYTES) -> list[int]:
    """How many rows each file has: as alike as can be, at least one file where there are rows."""
    if not rows:
        return []
    files = min(rows, max(1, math.ceil(rows * bytes_per_row / shard_bytes)))
    whole, rest = divmod(rows, files)
    return [whole + (number < rest) for number in range(files)]


@dataclass
class Written:
    """The files of a part."""

    files: dict[str, int] = field(default_factory=dict)
    """Bytes of each."""
    rows: int = 0


def write_shards(
    rows: Iterator[Row], schema: pa.Schema, part: str, sizes: Sequence[int], folder: str, file_type: FileType
) -> Written:
    """Write rows into files of these sizes, one after the other.

    A file has a name of its own until it is whole. More rows than `sizes` holds are left unread, and
    fewer end the last file early: whoever counts them sees it.
    """
    written = Written()
    for number, size in enumerate(sizes):
        name = shard_name(part, number, len(sizes), file_type)
        with file_io.storage_errors(folder), _draft(folder, name) as draft:
            taken = itertools.islice(rows, size)
            with open(draft, "wb") as file:
                made = _write_lines(file, taken) if file_type == "jsonl" else _write_groups(file, taken, schema)
            written.rows += made
            written.files[name] = os.path.getsize(draft)
            file_io.put_file(draft, file_io.join(folder, name))
    return written


@contextmanager
def _draft(folder: str, name: str) -> Iterator[str]:
    """A path for a file that is not whole: beside its place on a local disk, so that it need only be renamed."""
    if "://" in folder:
        with tempfile.TemporaryDirectory(prefix="character-factory-export-") as temporary:
            yield str(Path(temporary) / name)
        return
    path = Path(folder) / f".{name}{DRAFT}"
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def _write_lines(file: BinaryIO, rows: Iterator[Row]) -> int:
    made = 0
    for row in rows:
        file.write(json_line(row))
        made += 1
    return made


def _write_groups(file: BinaryIO, rows: Iterator[Row], schema: pa.Schema) -> int:
    made, waiting = 0, schema.empty_table()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := list(itertools.islice(rows, ROWS_AT_ONCE)):
            made += len(some)
            waiting = pa.concat_tables([waiting, pa.Table.from_pylist(some, schema=schema)])
            if waiting.num_rows >= GROUP_ROWS or waiting.nbytes >= GROUP_BYTES:
                writer.write_table(waiting, row_group_size=waiting.num_rows)
                waiting = schema.empty_table()
        if waiting.num_rows:
            writer.write_table(waiting, row_group_size=waiting.num_rows)
    return made
