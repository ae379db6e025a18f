"""Passes over a finished table of profiles, in tasks of several shards whose states are added in a tree.

    shards ──► CastFigures ──added──► one, with a sample ──► shards again ──► BandCounts ──added──► figures

States have a fixed size, so neither the driver nor a task grows with the rows. The second pass looks for the bands of
the sampled profiles among all others; it is left out where the sample has all of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow.compute as pc
import ray

from factory.config import Alarms
from factory.population.alarm_lines import raised_alarms
from factory.population.cast_figures import COLUMNS, LONG_ITEMS, BandCounts, CastFigures, long_texts, text_bands
from factory.runtime.ray_session import IO_TASK_CPUS
from factory.storage.tables import Table

GROUPS = 64
"""The most tasks of a pass."""
MERGED = 8
"""States that are added in one task, of about 1.5 MiB each."""


def cast_fields(limits: Alarms, table: Table) -> dict[str, Any]:
    """Return the figures and alarms of a table of profiles whose shards are all written, for its manifest."""
    cast = _sum_over(table, count_cast)
    bands = BandCounts.of(cast.sampled_bands())
    if cast.rows <= cast.sample.limit:
        bands.add(cast.sampled_bands())
    else:
        bands = _sum_over(table, count_bands, ray.put(bands))
    return population_fields(cast.to_manifest(bands), limits)


def population_fields(figures: dict[str, Any], limits: Alarms) -> dict[str, Any]:
    """Return figures with their alarms, as fields of a manifest."""
    return {"population": figures, "alarms": raised_alarms(figures, limits)}


def count_cast(table: Table, shards: Sequence[str]) -> CastFigures:
    """Return the figures of some shards."""
    total = CastFigures()
    for shard in shards:
        total.add(table.read(shard, [*COLUMNS, *LONG_ITEMS]))
    total.sample.prune()
    return total


def count_bands(table: Table, shards: Sequence[str], empty: BandCounts) -> BandCounts:
    """Return how many profiles of some shards have each of the bands of `empty`."""
    total = BandCounts.of(empty.bands)
    for shard in shards:
        rows = table.read(shard, ["status", *LONG_ITEMS])
        total.add(text_bands(long_texts(rows.filter(pc.equal(rows["status"], "ok")))))
    return total


def _sum_over(table: Table, count: Callable[..., Any], *more: Any) -> Any:
    shards = table.shards()
    size = 1 + len(shards) // GROUPS
    groups = [shards[start : start + size] for start in range(0, max(1, len(shards)), size)]
    parts = [_count.remote(count, table, group, *more) for group in groups]
    while len(parts) > 1:
        parts = [_add.remote(*parts[start : start + MERGED]) for start in range(0, len(parts), MERGED)]
    return ray.get(parts[0])


@ray.remote(num_cpus=IO_TASK_CPUS)
def _count(count: Callable[..., Any], *arguments: Any) -> Any:
    return count(*arguments)


@ray.remote(num_cpus=IO_TASK_CPUS)
def _add(first: Any, *others: Any) -> Any:
    for other in others:
        first = first + other
    return first
