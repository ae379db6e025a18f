"""The order of packed sequences: a function of seed, tables and batch size, independent of the workers.

The sequences of all epochs have consecutive positions; step s reads [s x batch, (s + 1) x batch).
Each epoch permutes the shards, and the sequences of each shard. Dialogues are assigned to shards by
a hash, so this mixes as well as a global shuffle.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ShardVisit:
    """One shard in one epoch; its sequences have the positions from `start` on."""

    shard: int
    epoch: int
    start: int


@dataclass(frozen=True)
class SampleOrder:
    """The order of all sequences.

    `rows` has the number of sequences of each shard; `batch` is the global batch size.
    """

    rows: Sequence[int]
    epochs: int
    batch: int
    seed: int

    @property
    def sequences(self) -> int:
        """Sequences of all epochs."""
        return sum(self.rows) * self.epochs

    @property
    def steps(self) -> int:
        """Optimizer steps; the last one may have a smaller batch."""
        return -(-self.sequences // self.batch)

    def visits(self) -> Iterator[ShardVisit]:
        """Yield the shards in the order in which they are read."""
        start = 0
        for epoch in range(self.epochs):
            for shard in np.random.default_rng([self.seed, epoch]).permutation(len(self.rows)).tolist():
                yield ShardVisit(shard, epoch, start)
                start += self.rows[shard]

    def positions(self, visit: ShardVisit, rank: int, workers: int, first_step: int) -> Iterator[tuple[int, int]]:
        """Yield what a worker reads of a shard from a given step on: position, row of the shard."""
        rows = self.rows[visit.shard]
        shuffled = np.random.default_rng([self.seed, visit.epoch, visit.shard]).permutation(rows)
        for offset in range(max(0, first_step * self.batch - visit.start), rows):
            position = visit.start + offset
            if position % self.batch % workers == rank:
                yield position, int(shuffled[offset])

    def batches(
        self, rows: Iterable[Mapping[str, Any]], first_step: int
    ) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
        """Yield a worker's rows step by step, in order of their positions; the last step may have none for it."""
        reading = iter(rows)
        row = next(reading, None)
        for step in range(first_step, self.steps):
            batch = []
            while row is not None and row["position"] // self.batch == step:
                batch.append(row)
                row = next(reading, None)
            yield step, batch
