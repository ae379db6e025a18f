"""Write exported rows to files of about equal size, each atomically: `<part>-00000-of-00004.jsonl`, or Parquet.

The number of files is part of their names, so it is estimated from a sample before the first row is written.
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
"""Small enough to read in parallel and to upload again, large enough to have few files."""
BATCH_ROWS = 256
GROUP_ROWS = 4096
GROUP_BYTES = 32 * 2**20
"""A row group ends at this number of rows or bytes: the writer holds it in memory."""

_LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}
"""Line ends for `str.splitlines` and editors, but not for JSON, which escapes only those below a space."""


def json_line(row: Row) -> bytes:
    """Return a row as one line of JSON, in UTF-8."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).translate(_LINE_ENDS).encode() + b"\n"


def shard_name(part: str, number: int, of: int, file_type: FileType) -> str:
    """Return a name such as `train-00000-of-00004.jsonl`, the convention of `datasets` and the Hub."""
    return f"{part}-{number:05}-of-{of:05}.{file_type}"


def size_of(rows: Sequence[Row], schema: pa.Schema, file_type: FileType) -> int:
    """Return the bytes that some rows take in a file."""
    if file_type == "jsonl":
        return sum(len(json_line(row)) for row in rows)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd")
    return buffer.tell()


def split_rows(rows: int, bytes_per_row: float, shard_bytes: int = SHARD_BYTES) -> list[int]:
    """Return the number of rows of each file: as equal as possible, and no file without rows."""
    if not rows:
        return []
    files = min(rows, max(1, math.ceil(rows * bytes_per_row / shard_bytes)))
    whole, rest = divmod(rows, files)
    return [whole + (number < rest) for number in range(files)]


@dataclass
class WrittenFiles:
    """The files of a part."""

    files: dict[str, int] = field(default_factory=dict)
    """The size in bytes of each."""
    rows: int = 0


def write_shards(
    rows: Iterator[Row], schema: pa.Schema, part: str, sizes: Sequence[int], folder: str, file_type: FileType
) -> WrittenFiles:
    """Write rows into files of these sizes, one after the other.

    A file has a temporary name until it is complete. Rows beyond `sizes` are not read, and with fewer rows the last
    file ends early: the caller compares the counts.
    """
    written = WrittenFiles()
    for number, size in enumerate(sizes):
        name = shard_name(part, number, len(sizes), file_type)
        with file_io.storage_errors(folder), draft(folder, name) as path:
            taken = itertools.islice(rows, size)
            with open(path, "wb") as file:
                count = _write_lines(file, taken) if file_type == "jsonl" else _write_groups(file, taken, schema)
            written.rows += count
            written.files[name] = os.path.getsize(path)
            file_io.put_file(path, file_io.join(folder, name))
    return written


@contextmanager
def draft(folder: str, name: str) -> Iterator[str]:
    """Yield a path for an incomplete file: on a local disk in the same folder, so that it only needs a rename."""
    if "://" in folder:
        with tempfile.TemporaryDirectory(prefix="character-factory-export-") as temporary:
            yield str(Path(temporary) / name)
        return
    path = Path(folder) / f".{name}{DRAFT}"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def _write_lines(file: BinaryIO, rows: Iterator[Row]) -> int:
    count = 0
    for row in rows:
        file.write(json_line(row))
        count += 1
    return count


def _write_groups(file: BinaryIO, rows: Iterator[Row], schema: pa.Schema) -> int:
    count, group = 0, schema.empty_table()
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(rows, BATCH_ROWS)):
            count += len(batch)
            group = pa.concat_tables([group, pa.Table.from_pylist(batch, schema=schema)])
            if group.num_rows >= GROUP_ROWS or group.nbytes >= GROUP_BYTES:
                writer.write_table(group, row_group_size=group.num_rows)
                group = schema.empty_table()
        if group.num_rows:
            writer.write_table(group, row_group_size=group.num_rows)
    return count
