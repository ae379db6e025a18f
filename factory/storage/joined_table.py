"""A table read with a column of another one."""

import dataclasses
from typing import Any

import pyarrow as pa
import pyarrow.compute

from factory.storage.tables import Table, compute_fingerprint


@dataclasses.dataclass(frozen=True)
class JoinedTable(Table):
    """A finished table of work, read with a column of another one that has the same shards.

    A row finds the other table's accepted row whose `other_key` is its `key`; where there is none
    the column is null. Rows are sorted by `order` where it is named.
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
        """Put another table's column beside a table's."""
        return cls(table.output, table.name, other, key, other_key or key, column, order)

    def manifest(self) -> dict[str, Any] | None:
        """The table's own, with a fingerprint of both: what was sampled anew under the same settings is another."""
        both = [super().manifest(), self.other.manifest()]
        if None in both:
            return None
        made = [[one["fingerprint"], one["finished"]] for one in both if one]
        return (both[0] or {}) | {"fingerprint": compute_fingerprint({"made": made})}

    def read(self, shard: str, columns: list[str] | None = None) -> pa.Table:
        """The rows of a shard, all columns of the table and the one of the other."""
        rows = super().read(shard)
        there = self.other.read(shard, [self.other_key, "status", self.column])
        there = there.filter(pa.compute.equal(there["status"], "ok")).combine_chunks()
        found = pa.compute.index_in(rows[self.key], there[self.other_key])
        rows = rows.append_column(there.schema.field(self.column), there[self.column].take(found))
        return rows.sort_by(self.order) if self.order else rows
