"""Exactly N accepted rows of a table: which shards are generated, and which of their rows count.

Shards are given out in waves in the order of their names, whose rows are in the order of their ids. The first N
accepted rows in that order count, so neither the number of replicas nor kills change the set where replies repeat.
Accepted rows beyond them become rejects, `not_needed`, which keep their columns: with another N they count again
without an engine.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from factory.records import NOT_NEEDED, Counts
from factory.storage.tables import Table

GROWTH = 8
"""A wave is at most so many times what a table has: the yield of a few rows says little of many."""


@dataclasses.dataclass
class AcceptQuota:
    """The accepted rows of each written shard of a table, and how many are needed."""

    goal: int | None
    """Rows to accept; None for all that there are."""
    order: Sequence[str]
    """All shards, in order."""
    accepted: dict[str, int] = dataclasses.field(default_factory=dict)
    """By written shard, with those that are marked as not needed."""
    in_flight: int = 0
    """Shards of the present wave that are not written."""
    _ok: dict[str, int] = dataclasses.field(default_factory=dict)
    """By written shard, as it is on disk."""

    def add(self, shard: str, counts: Counts) -> None:
        """Count a written shard."""
        self._ok[shard] = counts.ok
        self.accepted[shard] = counts.ok + counts.rejected.get(NOT_NEEDED, 0)

    @property
    def total(self) -> int:
        """The accepted rows of all written shards."""
        return sum(self.accepted.values())

    @property
    def is_part(self) -> bool:
        """Whether shards are left that are not needed."""
        return self.is_reached and len(self.accepted) < len(self.order)

    @property
    def is_reached(self) -> bool:
        """Whether the shards up to the first one that is not written have enough accepted rows."""
        if self.goal is None or self.total < self.goal:
            return False
        found = 0
        for shard in self.order:
            if found >= self.goal or shard not in self.accepted:
                break
            found += self.accepted[shard]
        return found >= self.goal

    def next_wave(self, pending: int, shard_rows: float, rows: int) -> int:
        """Return how many of the shards that are not written are needed, as far as the yield so far tells.

        Args:
            pending: how many shards are not written.
            shard_rows: their rows, on average.
            rows: the rows that are written. Without any, each row counts as accepted, so that no row of the first wave
                is one too many.
        """
        if self.goal is None:
            return pending
        if self.is_reached:
            return 0
        expected = shard_rows * (self.total / rows if rows else 1)
        found, wanted = 0.0, 0
        for shard in self.order:
            if found >= self.goal:
                break
            wanted += shard not in self.accepted
            found += self.accepted.get(shard, expected)
        most = math.ceil(GROWTH * rows / max(shard_rows, 1)) if rows else pending
        return min(wanted, most, pending)

    def recount(self, counts: Counts) -> Counts:
        """Return the counts of the table once its changes are written."""
        ok = self.total if self.goal is None else min(self.goal, self.total)
        rejected = counts.rejected | {NOT_NEEDED: self.total - ok}
        return dataclasses.replace(counts, ok=ok, rejected={name: n for name, n in sorted(rejected.items()) if n})

    def changes(self) -> list[dict[str, Any]]:
        """Return the written shards in which other rows count than are marked on disk, each with how many to `keep`."""
        left = self.total if self.goal is None else self.goal
        found = []
        for shard in self.order:
            if shard in self.accepted:
                keep = min(self.accepted[shard], left)
                left -= keep
                if keep != self._ok[shard]:
                    found.append({"shard": shard, "keep": keep})
        return found

    def text(self, name: str, counts: Counts) -> str:
        """Return how many rows of a table are accepted of how many needed, and why the others are not."""
        others = sorted(counts.rejected.items(), key=lambda item: (-item[1], item[0]))
        reasons = "".join(f", {reason} {number:,}" for reason, number in others if reason != NOT_NEEDED)
        share = f"{self.total / counts.rows:.0%} of {counts.rows:,} rows" if counts.rows else "not known yet"
        return f"{name} has {self.total:,} of {self.goal:,} accepted rows (yield {share}{reasons})"


def mark_shard(table: Table, schema: pa.Schema, shard: dict[str, Any]) -> dict[str, Any]:
    """Rewrite a shard so that its first `keep` accepted rows count and the others are not needed."""
    rows = table.read(shard["shard"]).to_pylist()
    accepted = [row for row in rows if row["status"] == "ok" or row["reason"] == NOT_NEEDED]
    for number, row in enumerate(accepted):
        is_kept = number < shard["keep"]
        row |= {"status": "ok", "reason": None} if is_kept else {"status": "rejected", "reason": NOT_NEEDED}
    table.write(shard["shard"], rows, schema)
    return shard
