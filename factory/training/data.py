"""What each worker reads: its sequences of the packed table, in order, from a given step on (Ray Data)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import ray.data

from factory.runtime.ray_session import range_dataset
from factory.storage.tables import Table
from factory.training.checkpointing import checkpoints
from factory.training.data_order import SampleOrder, ShardVisit
from factory.training.pack_step import PackedTable


def worker_datasets(
    train: PackedTable, order: SampleOrder, workers: int, folder: str
) -> dict[str, ray.data.Dataset | Callable[[], ray.data.Dataset]]:
    """Return a dataset per worker, by name; Ray Train creates them for each group of workers that it starts.

    They begin at the step of the newest checkpoint, where that group goes on.
    """
    return {dataset_name(rank): partial(_dataset, train.table, train.shards, order, rank, workers, folder)
            for rank in range(workers)}  # fmt: skip


def dataset_name(rank: int) -> str:
    """Return the name of a worker's dataset."""
    return f"train-{rank}"


def _dataset(
    table: Table, shards: dict[str, int], order: SampleOrder, rank: int, workers: int, folder: str
) -> ray.data.Dataset:
    found = checkpoints.newest(folder)
    first_step = found.step if found else 0
    first = first_step * order.batch
    visits = [visit for visit in order.visits() if visit.start + order.rows[visit.shard] > first]
    names = list(shards)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    read = partial(_read, table, names, order, rank, workers, first_step)
    return range_dataset(len(visits), num_cpus=0.1).flat_map(lambda row: read(visits[row["id"]]), num_cpus=0.1)


def _read(
    table: Table, names: list[str], order: SampleOrder, rank: int, workers: int, first_step: int, visit: ShardVisit
) -> list[dict[str, Any]]:
    rows = table.read(names[visit.shard])
    positions = list(order.positions(visit, rank, workers, first_step))
    chosen = rows.take([row for _, row in positions]).to_pylist()
    return [{"position": position, **row} for (position, _), row in zip(positions, chosen, strict=True)]


def validation_rows(validation: PackedTable, limit: int, rank: int, workers: int) -> Iterator[dict[str, Any]]:
    """Yield a worker's part of the first `limit` packed sequences of the validation split."""
    number = 0
    for name in validation.shards:
        if number >= limit:
            return
        for row in validation.table.read(name).slice(0, limit - number).to_pylist():
            if number % workers == rank:
                yield row
            number += 1
