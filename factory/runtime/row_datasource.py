"""A source of Ray Data whose read tasks carry one row each: no task gets the rows of the others."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

_ROW_BYTES = 100
_METADATA = BlockMetadata(num_rows=1, size_bytes=_ROW_BYTES, input_files=None, exec_stats=None)


class RowDatasource(Datasource):
    """One block per row, in a read task of about 500 bytes."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Hold the rows; they are names, not data."""
        self._rows = rows

    def estimate_inmemory_data_size(self) -> int:
        """Return the approximate number of bytes of all blocks."""
        return len(self._rows) * _ROW_BYTES

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """Return a task per row, whatever the parallelism."""
        return [ReadTask(partial(_to_block, row), _METADATA) for row in self._rows]


def _to_block(row: Mapping[str, Any]) -> list[pa.Table]:
    return [pa.Table.from_pylist([dict(row)])]
