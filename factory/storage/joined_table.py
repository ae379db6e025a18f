"""A table read with a column of another one."""

import dataclasses
from typing import Any

import pyarrow as pa
import pyarrow.compute

from factory.storage.tables import Table, compute_fingerprint


@dataclasses.dataclass(frozen=True)
class JoinedTable(Table):
    """A finished table, read with a column of another table that has the same shards.

    A row is joined with the other table's accepted row whose `other_key` equals its `key`; without one, the
    column is null. Rows are sorted by `order` unless it is empty.
    """

    other: Table
    key: str
    other_key: str
    column: str
    order: str

    @classmethod
    def of(
        cls, table: Table, other: Table, key: str, column: str, other_key: str | None = None, order: str = ""
    ) -> "JoinedTable":
        """Join a column of another table to a table."""
        return cls(table.output, table.name, other, key, other_key or key, column, order)

    def manifest(self) -> dict[str, Any] | None:
        """Return the table's own manifest, with a fingerprint of both tables.

        It depends on when both were finished: a table sampled again under the same settings has other rows.
        """
        own, other = super().manifest(), self.other.manifest()
        if own is None or other is None:
            return None
        finished = [[manifest["fingerprint"], manifest["finished"]] for manifest in (own, other)]
        return own | {"fingerprint": compute_fingerprint({"made": finished})}

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of a shard, with all columns of the table and the joined one."""
        rows = super().read(shard)
        others = self.other.read(shard, [self.other_key, "status", self.column])
        others = others.filter(pa.compute.equal(others["status"], "ok")).combine_chunks()
        found = pa.compute.index_in(rows[self.key], others[self.other_key])
        rows = rows.append_column(others.schema.field(self.column), others[self.column].take(found))
        return rows.sort_by(self.order) if self.order else rows
