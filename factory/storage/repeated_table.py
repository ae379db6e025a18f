"""A finished table read with each of its rows several times, for steps that draw more than once."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from factory.storage.tables import Table, compute_fingerprint


@dataclasses.dataclass(frozen=True)
class RepeatedTable(Table):
    """The rows of a table, each `times` in turn; a column has the number of the repetition, from 0."""

    table: Table
    times: int
    column: str

    @classmethod
    def of(cls, table: Table, times: int, column: str) -> Table:
        """Return a table with repeated rows; once is the table itself."""
        return cls(table.output, table.name, table, times, column) if times > 1 else table

    def manifest(self) -> dict[str, Any] | None:
        """Return the table's manifest with the number of its rows here, and a fingerprint of its own."""
        whole = self.table.manifest()
        if whole is None:
            return None
        counts = {name: self.times * whole[name] for name in ("ok", "rows_in")}
        return whole | counts | {"fingerprint": compute_fingerprint({"of": whole["fingerprint"], "times": self.times})}

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of a shard: columns of the table, by default all, and that of the repetition."""
        rows = self.table.read(shard, columns)
        repeated = rows.take(np.repeat(np.arange(rows.num_rows), self.times))
        return repeated.append_column(self.column, pa.array(np.tile(np.arange(self.times), rows.num_rows)))
