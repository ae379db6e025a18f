"""Which packed sequence is read when: a function of seed, tables and batch size, never of workers.

The sequences of all epochs stand in one line; step s takes those at [s x batch, (s + 1) x batch).
Each epoch draws the shards in a new order, and the sequences of each shard likewise. Shards hold
dialogues that were dealt to them by a hash, so this mixes as well as a shuffle of everything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ShardVisit:
    """One shard in one epoch: its sequences take the places from `start` on."""

    shard: int
    epoch: int
    start: int


@dataclass(frozen=True)
class SampleOrder:
    """The line of sequences.

    `rows` has the number of sequences of each shard; `batch` is the global batch size.
    """

    rows: Sequence[int]
    epochs: int
    batch: int
    seed: int

    @property
    def sequences(self) -> int:
        """How many sequences all epochs have together."""
        return sum(self.rows) * self.epochs

    @property
    def steps(self) -> int:
        """Optimizer steps; the last one may have a smaller batch."""
        return -(-self.sequences // self.batch)

    def visits(self) -> Iterator[ShardVisit]:
        """The shards in the order in which they are read."""
        start = 0
        for epoch in range(self.epochs):
            for shard in np.random.default_rng([self.seed, epoch]).permutation(len(self.rows)).tolist():
                yield ShardVisit(shard, epoch, start)
                start += self.rows[shard]

    def places(self, visit: ShardVisit, rank: int, workers: int, first_step: int) -> Iterator[tuple[int, int]]:
        """What a worker reads of a shard from some step on: place in the line, row of the shard."""
        rows = self.rows[visit.shard]
        shuffled = np.random.default_rng([self.seed, visit.epoch, visit.shard]).permutation(rows)
        for offset in range(max(0, first_step * self.batch - visit.start), rows):
            place = visit.start + offset
            if place % self.batch % workers == rank:
                yield place, int(shuffled[offset])

    def batches(
        self, rows: Iterable[Mapping[str, Any]], first_step: int
    ) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
        """A worker's rows, in order of their places, step by step; the last step may have none for it."""
        reading = iter(rows)
        row = next(reading, None)
        for step in range(first_step, self.steps):
            batch = []
            while row is not None and row["place"] // self.batch == step:
                batch.append(row)
                row = next(reading, None)
            yield step, batch
