"""Moves rows to the tasks of their partitions, through files: a `FileShuffle` on Ray."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import ray

from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, iter_rows, range_dataset
from factory.storage.shuffle import ROWS_PER_SPILL, FileShuffle, Spill, SpillIndex, group_shards

T = TypeVar("T")


@dataclass(frozen=True)
class Exchanged:
    """Rows in the files of a shuffle, for the tasks that collect its partitions."""

    shuffle: FileShuffle
    index: Any
    """A reference to the index of the files in Ray's object store."""

    def collect(self, partition: int) -> pa.Table:
        """Return the rows of a partition."""
        return self.shuffle.collect(ray.get(self.index), partition)


def exchange(shuffle: FileShuffle, spills: Iterable[Spill]) -> Exchanged:
    """Cut spilled files by partition, unless they are already."""
    index = SpillIndex.of(spills)
    if shuffle.groups > 1:
        spilled = ray.put(index)
        regrouped = range_dataset(shuffle.regrouping_tasks(len(index.files))).flat_map(
            lambda row: list(map(spill_row, shuffle.regroup(ray.get(spilled), row["id"]))), num_cpus=IO_TASK_CPUS
        )
        index = SpillIndex.of(to_spills(iter_rows(regrouped)))
        shuffle.delete_groups()
    return Exchanged(shuffle, ray.put(index))


def exchange_shards(
    shuffle: FileShuffle,
    shards: Sequence[T],
    rows: int,
    read: Callable[[T], pa.Table],
    key: Callable[[pa.Table], np.ndarray],
    rows_per_spill: int = ROWS_PER_SPILL,
) -> Exchanged:
    """Spill shards, of so many rows in all, in tasks of several, and cut the files by partition.

    What an earlier try left in the shuffle's folder is deleted.
    """
    shuffle.delete()
    runs = [{"run": pickle.dumps(run)} for run in group_shards(shards, rows, rows_per_spill)]
    spilled = dataset_of(runs).flat_map(
        lambda row: list(map(spill_row, shuffle.spill_shards(pickle.loads(row["run"]), read, key))),
        num_cpus=IO_TASK_CPUS,
    )
    return exchange(shuffle, to_spills(iter_rows(spilled)))


def spill_row(spill: Spill) -> dict[str, Any]:
    """Return a file as a column of a Ray dataset."""
    return {"spill": pickle.dumps(spill)}


def to_spills(rows: Iterable[dict[str, Any]]) -> Iterator[Spill]:
    """Yield the files of rows that have the column of `spill_row`."""
    return (pickle.loads(row["spill"]) for row in rows)
