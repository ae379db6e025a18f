"""Rows to partitions by key, through files: a shuffle whose memory does not grow with the rows.

Each writing task spills its rows to one Arrow file that has one record batch a partition; each
reading task takes its batch out of every file. Ray Data's own `repartition(keys=...)` does the same
through the object store: on one million personas it took 1.4 times the memory that it took on a
hundred thousand, and a quarter of a minute of actor start-up for a few rows.
"""

import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from factory import storage

BYTES_PER_PARTITION = 4 << 20
MAX_PARTITIONS = 4096


def partitions_for(size: int) -> int:
    """How many partitions keep each at a few ten thousand rows, for so many bytes of input."""
    return min(1 + size // BYTES_PER_PARTITION, MAX_PARTITIONS)


@dataclass(frozen=True)
class Exchange:
    """Spilled rows in a folder of their own, which is deleted when they have been read."""

    folder: str
    partitions: int
    schema: pa.Schema

    def spill(self, rows: pa.Table, keys: np.ndarray, name: str = "") -> str:
        """Write rows to a file by the partition of their int64 keys and return its name.

        The file is a new one unless it is named; a named one is written whole over what was there.
        """
        partition = keys.astype(np.uint64) % np.uint64(self.partitions)
        order = np.argsort(partition, kind="stable")
        borders = np.searchsorted(partition[order], np.arange(self.partitions + 1, dtype=np.uint64))
        rows = rows.select(self.schema.names).cast(self.schema).take(order)
        buffer = io.BytesIO()
        with pa.ipc.new_file(buffer, self.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
                part = rows.slice(start, end - start).combine_chunks()
                batches = part.to_batches()
                writer.write_batch(batches[0] if batches else pa.RecordBatch.from_pylist([], self.schema))
        name = name or f"{uuid.uuid4().hex}.arrow"
        storage.write_bytes(storage.join(self.folder, name), buffer.getvalue())
        return name

    def collect(self, files: Sequence[str], partition: int) -> pa.Table:
        """The rows of one partition out of all files, in the files' order."""
        batches = []
        for name in files:
            fs, path = storage.filesystem(storage.join(self.folder, name))
            with storage.storage_errors(path), fs.open(path, "rb") as file:
                batches.append(pa.ipc.open_file(pa.PythonFile(file, "r")).get_batch(partition))
        return pa.Table.from_batches(batches, self.schema)

    def delete(self) -> None:
        """Remove the spilled files."""
        storage.delete_folder(self.folder)
