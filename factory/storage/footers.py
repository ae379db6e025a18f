"""Footers of shards: they hold the counts of the rows, so that a resumed run reads only the ends of its shards."""

import io
import json
import zlib
from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import DamagedError
from factory.records import Counts
from factory.storage import file_io
from factory.storage.schemas import THOUGHT_COLUMNS, lacking_columns

COUNTS = "counts"
TAIL_BYTES = 64 << 10
"""What is read of the end of a file; the footer of a shard takes 3 to 5 kB of it."""
UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What Arrow raises for a file that is not what was written."""
_END_BYTES = 8
"""The length of the footer, and the magic bytes of Parquet."""


def to_parquet(rows: pa.Table, counts: Counts | None = None) -> bytes:
    """Return a shard's file, with the counts of its rows in its footer."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, rows.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(rows)
        if counts:
            text = json.dumps(asdict(counts))
            # Pages have a checksum, the footer has none.
            writer.add_key_value_metadata({COUNTS: f"{zlib.crc32(text.encode()):08x}{text}"})
    return buffer.getvalue()


def from_parquet(data: bytes, columns: list[str] | None = None) -> pa.Table:
    """Return rows of a shard's file; what it lacks of the columns of thoughts, as an earlier version's does, is null.

    Raises:
        ArrowException, OSError, UnicodeDecodeError: the file is not what was written.
    """
    written = pq.read_schema(pa.BufferReader(data)).names
    is_earlier = "cached_tokens" in written and "thought_tokens" not in written
    added = [field for field in THOUGHT_COLUMNS if is_earlier and (columns is None or field.name in columns)]
    added += lacking_columns(columns or (), written)
    names = columns if columns is None else [name for name in columns if name not in {field.name for field in added}]
    rows = pq.read_table(pa.BufferReader(data), columns=names, page_checksum_verification=True)
    for field in added:
        rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows


def read_footer(path: str) -> pq.FileMetaData:
    """Return the footer of a shard's file, of which only the end is read.

    An empty or truncated file is found, and one with bytes missing or added anywhere; bytes that have changed
    inside a page are not: the checksum of the page finds them when the rows are read.

    Raises:
        DamagedError: the file is not what was written.
    """
    size, tail = file_io.read_tail(path, TAIL_BYTES)
    length = _END_BYTES + int.from_bytes(tail[-_END_BYTES : -_END_BYTES // 2], "little")
    if len(tail) < length <= size:
        tail = file_io.read_bytes(path)
    try:
        footer = pq.read_metadata(io.BytesIO(tail))
        ends = [_end_of_rows(footer.row_group(number)) for number in range(footer.num_row_groups)]
        if (expected := max(ends, default=0) + length) != size:
            raise pa.ArrowInvalid(f"the footer describes {expected} bytes, and the file has {size}")
    except UNREADABLE as problem:
        raise DamagedError.of(path, problem) from None
    return footer


def _end_of_rows(group: pq.RowGroupMetaData) -> int:
    columns = [group.column(number) for number in range(group.num_columns)]
    return max(int((c.dictionary_page_offset or c.data_page_offset) + c.total_compressed_size) for c in columns)


def counts_in(footer: pq.FileMetaData) -> Counts | None:
    """Return the counts in a footer; None if an earlier version wrote the file, or if they have changed."""
    value = (footer.metadata or {}).get(COUNTS.encode(), b"")
    checksum, text = value[:8], value[8:]
    if checksum != f"{zlib.crc32(text):08x}".encode():
        return None
    counts = Counts(**json.loads(text))
    return counts if counts.rows == footer.num_rows else None
