"""A shuffle through files: partitions rows by key, in memory that does not grow with the rows.

    rows ──spill──► files cut by group ──regroup──► files cut by partition ──collect──► the rows of a partition

A spilled file holds one record batch per part, and where each lies is returned, so that a reader requests those bytes
and no others. With one level every partition reads from every file, which is the product of both; above
`MAX_PARTITIONS_OF_ONE_LEVEL` they form groups of about the square root of their number, and each group's rows are cut
again. Ray Data's own `repartition(keys=...)` shuffles through the object store: for one million personas it needed 1.4
times the memory of a hundred thousand, and actor start-up took a quarter of a minute for a few rows.
"""

import io
import itertools
import math
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from factory.errors import DamagedError, StorageError
from factory.storage import file_io

T = TypeVar("T")

BYTES_PER_PARTITION = 4 << 20
MAX_PARTITIONS = 4096
MAX_PARTITIONS_OF_ONE_LEVEL = 512
"""Up to here the requests of one level cost less than writing and reading the rows once more."""
ROWS_PER_SPILL = 50_000
BYTES_PER_SPILL = 32 << 20
"""Approximate size of a file."""
_PARTITION = "_partition"
"""The column of files cut by group that holds a row's partition."""


def partitions_for(size: int) -> int:
    """Return the number of partitions for `size` bytes of input, a few ten thousand rows each."""
    return min(1 + size // BYTES_PER_PARTITION, MAX_PARTITIONS)


def group_shards(shards: Sequence[T], rows: int, rows_per_spill: int = ROWS_PER_SPILL) -> list[list[T]]:
    """Group the shards of a table of `rows` rows, each group for about one spill file; at least one group."""
    groups = min(math.ceil(rows / rows_per_spill), len(shards))
    borders = np.linspace(0, len(shards), max(groups, 1) + 1).astype(int).tolist()
    return [list(shards[start:end]) for start, end in itertools.pairwise(borders)]


@dataclass(frozen=True)
class Spill:
    """A spilled file of a group: the bytes `borders[p]` to `borders[p + 1]` are the rows of its part p."""

    file: str
    group: int
    borders: np.ndarray


@dataclass(frozen=True)
class SpillIndex:
    """Where the parts of all files lie, as arrays, which Ray's object store shares without a copy.

    Two levels keep it at 8 bytes for each file and the square root of the partitions: at 10^9 rows 16 MB for
    instructions and 63 MB for tokenized dialogues.
    """

    files: np.ndarray
    groups: np.ndarray
    borders: np.ndarray
    """int64 of shape (files, parts + 1)."""

    @classmethod
    def of(cls, spills: Iterable[Spill]) -> "SpillIndex":
        """Build the index of files, in order of their names."""
        ordered = sorted(spills, key=lambda spill: spill.file)
        files = np.array([spill.file.encode() for spill in ordered], np.bytes_)
        groups = np.array([spill.group for spill in ordered], np.int64)
        borders = np.stack([spill.borders for spill in ordered]) if ordered else np.zeros((0, 1), np.int64)
        return cls(files, groups, borders)


@dataclass(frozen=True)
class FileShuffle:
    """Spilled rows in a folder of their own, which is deleted once they have been read."""

    folder: str
    partitions: int
    schema: pa.Schema

    @property
    def width(self) -> int:
        """The number of partitions of a group."""
        return (
            self.partitions if self.partitions <= MAX_PARTITIONS_OF_ONE_LEVEL else math.isqrt(self.partitions - 1) + 1
        )

    @property
    def groups(self) -> int:
        """The number of groups; with one, files are cut by partition at once."""
        return math.ceil(self.partitions / self.width)

    def spill(self, rows: pa.Table, keys: np.ndarray) -> Spill:
        """Write rows to a new file, cut by their 64-bit keys."""
        partition = (keys.astype(np.uint64) % np.uint64(self.partitions)).astype(np.int32)
        rows = rows.select(self.schema.names).cast(self.schema)
        if self.groups == 1:
            return self._write(rows, partition, np.arange(self.partitions + 1), "", 0)
        rows = rows.append_column(_PARTITION, pa.array(partition))
        return self._write(rows, partition, np.arange(self.groups + 1) * self.width, "groups/", 0)

    def spill_shards(
        self, shards: Sequence[T], read: Callable[[T], pa.Table], key: Callable[[pa.Table], np.ndarray]
    ) -> Iterator[Spill]:
        """Write the rows of shards to as few files as memory allows."""
        held: list[pa.Table] = []
        size = 0
        for number, shard in enumerate(shards, 1):
            held.append(read(shard).select(self.schema.names))
            size += held[-1].nbytes
            if number == len(shards) or size >= BYTES_PER_SPILL:
                rows = pa.concat_tables(held).combine_chunks()
                yield self.spill(rows, key(rows))
                held, size = [], 0

    def regrouping_tasks(self, files: int) -> int:
        """Return how many tasks cut so many files again; each reads about the size of a file."""
        return self.groups * math.ceil(files / self.groups)

    def regroup(self, index: SpillIndex, task: int) -> Iterator[Spill]:
        """Cut a group's rows of some of the files by partition, and yield the new files."""
        chunk, group = divmod(task, self.groups)
        files = np.arange(len(index.files))[chunk * self.groups : (chunk + 1) * self.groups]
        size = np.cumsum(index.borders[files, group + 1] - index.borders[files, group])
        starts = np.arange(self.width + 1) + group * self.width
        # One group may hold most rows, so memory is bounded by bytes too.
        for some in np.split(files, np.flatnonzero(np.diff(size // BYTES_PER_SPILL)) + 1):
            rows = self._read(index, some, group, self.schema.append(pa.field(_PARTITION, pa.int32())))
            if rows.num_rows:
                partition = rows[_PARTITION].to_numpy()
                yield self._write(rows.drop_columns(_PARTITION).combine_chunks(), partition, starts, "", group)

    def collect(self, index: SpillIndex, partition: int) -> pa.Table:
        """Return the rows of one partition from all files, in the order of the files."""
        group, part = divmod(partition, self.width)
        return self._read(index, np.flatnonzero(index.groups == group), part, self.schema)

    def _write(self, rows: pa.Table, partition: np.ndarray, starts: np.ndarray, folder: str, group: int) -> Spill:
        """Write rows in parts, of which each holds the partitions from one start to the next."""
        order = np.argsort(partition, kind="stable")
        cuts = np.searchsorted(partition[order], starts).tolist()
        rows = rows.take(order)
        buffer = io.BytesIO()
        borders = []
        with pa.ipc.new_stream(buffer, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(pa.RecordBatch.from_pylist([], rows.schema))  # and, before it, the schema
            for start, end in itertools.pairwise(cuts):
                borders.append(buffer.tell())
                if end > start:
                    (batch,) = rows.slice(start, end - start).combine_chunks().to_batches()
                    writer.write_batch(batch)
            borders.append(buffer.tell())
        name = f"{folder}{uuid.uuid4().hex}.arrow"
        file_io.write_bytes(file_io.join(self.folder, name), buffer.getvalue())
        return Spill(name, group, np.array(borders, np.int64))

    def _read(self, index: SpillIndex, files: np.ndarray, part: int, schema: pa.Schema) -> pa.Table:
        if not len(files):
            return schema.empty_table()
        starts, ends = index.borders[files, part], index.borders[files, part + 1]
        filled = ends > starts
        paths = [file_io.join(self.folder, name.decode()) for name in index.files[files[filled]].tolist()]
        sizes = (ends - starts)[filled].tolist()
        parts = file_io.read_ranges(paths, starts[filled].tolist(), ends[filled].tolist())
        batches = [_to_batch(*part, schema) for part in zip(paths, parts, sizes, strict=True)]
        return pa.Table.from_batches(batches, schema)

    def delete_groups(self) -> None:
        """Delete the files cut by group, once they are cut by partition."""
        file_io.delete_folder(file_io.join(self.folder, "groups"))

    def delete(self) -> None:
        """Delete the spilled files."""
        file_io.delete_folder(self.folder)


def _to_batch(path: str, data: bytes, size: int, schema: pa.Schema) -> Any:
    try:
        if len(data) != size:
            raise EOFError(f"has {len(data)} of {size} bytes")
        return pa.ipc.read_record_batch(pa.py_buffer(data), schema)
    except (pa.ArrowException, OSError, EOFError) as problem:
        raise StorageError(f"{DamagedError.of(path, problem)}; run the same command again") from None
