"""The characters that speak in the dialogues of an export."""

import numpy as np
import pyarrow as pa

from factory.storage import file_io
from factory.storage.tables import Table

MERGE_SIZE = 1 << 22
"""How many numbers of characters are collected before duplicates are removed."""


def find_speakers(tables: tuple[Table, ...]) -> np.ndarray:
    """Return the characters with an accepted row as sorted numbers, 8 bytes each."""
    # Arrow's data sets import pandas, which takes a second; other exports do not need it.
    import pyarrow.dataset as ds

    from factory.run_output.scan import TableFiles

    found = np.zeros(0, np.uint64)
    for table in tables:
        new, size = [found], 0
        for batch in TableFiles(table.path, file_io.sizes(table.path)).scan(
            ["character_id"], ds.field("status") == "ok"
        ):
            new.append(np.unique(ids_to_numbers(batch["character_id"])))
            size += len(new[-1])
            if size > MERGE_SIZE:
                new, size = [np.unique(np.concatenate(new))], 0
        found = np.unique(np.concatenate(new))
    return found


def ids_to_numbers(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return ids as unsigned 64-bit numbers, in the same order as their texts."""
    return np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), ">u8").astype(np.uint64)
