"""Builds a table that is written as a whole: fingerprint, skip or start over, work, check, manifest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from factory.records import Counts
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, dataset_of, iter_rows, reraise_own_errors
from factory.storage.manifest import build_manifest
from factory.storage.rows import Row
from factory.storage.tables import Table, compute_fingerprint, rows_per_shard


@dataclass(frozen=True)
class Built:
    """What the work on a table returns besides its rows."""

    counts: Counts
    fields: Mapping[str, Any] = field(default_factory=dict)
    """More fields of the manifest."""
    fingerprint: str | None = None
    """Of the content, in place of that of the inputs, for tables that other places may hold the same rows for."""


def build_table(
    table: Table,
    fingerprint_inputs: Mapping[str, Any],
    rows_in: int | None,
    work: Callable[[], Built | Counts],
    progress: Progress,
    *,
    repeatable: bool = False,
) -> dict[str, Any]:
    """Build a table unless it is finished, and return its manifest.

    Args:
        table: the table.
        fingerprint_inputs: everything that its rows depend on.
        rows_in: how many rows go in; None where only the work finds out.
        work: writes the rows.
        progress: where to report.
        repeatable: whether building it again makes the same rows (see `Table.finish`).

    Raises:
        FactoryError: the work fails, or not every input row came out once.
    """
    fingerprint = compute_fingerprint(fingerprint_inputs)
    table.begin(fingerprint, fingerprint_inputs, progress.print)
    if finished := table.manifest():
        progress.record_table(finished, skipped=True)
        return finished
    progress.start([table.name], rows_in)
    try:
        with reraise_own_errors():
            made = work()
    finally:
        progress.stop()
    built = made if isinstance(made, Built) else Built(made)
    counts = built.counts
    expected = counts.rows if rows_in is None else rows_in
    table.check_complete(counts, expected)
    manifest = build_manifest(
        table.name, expected, counts, progress.timing(counts), built.fingerprint or fingerprint, **built.fields
    )
    table.finish(manifest, repeatable=repeatable)
    progress.record_table(manifest)
    return manifest


def identity(table: Table) -> list[str]:
    """Return what distinguishes a finished table from one rebuilt with the same settings, as replies are sampled."""
    manifest = table.manifest()
    assert manifest is not None, f"{table.path} is not finished"
    return [manifest["fingerprint"], manifest["finished"]]


def write_in_shards(table: Table, rows: Sequence[Row], schema: pa.Schema) -> Counts:
    """Write the rows of a small table from this process, in shards of the usual size; returns their counts."""
    size = rows_per_shard(len(rows))
    starts = range(0, len(rows), size)
    return sum((table.write(f"{n:05}", rows[start : start + size], schema) for n, start in enumerate(starts)), Counts())


def map_shards(table: Table, do: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Run a function in a Ray task for each shard of a table, and yield what it returns, in any order."""
    shards = [{"shard": name} for name in table.shards()]
    if shards:
        yield from iter_rows(dataset_of(shards).map(do, num_cpus=IO_TASK_CPUS))


COPIED = "given-"
"""Prefix of the shards that `copy_rows` writes."""


def copy_rows(source: Table, table: Table, schema: pa.Schema) -> Counts:
    """Copy the accepted rows of a finished table into another one, in shards of their own; returns their counts."""
    copied = map_shards(source, partial(_copy_shard, source, table, schema))
    return sum((Counts(ok=row["rows"]) for row in copied), Counts())


def _copy_shard(source: Table, table: Table, schema: pa.Schema, shard: dict[str, Any]) -> dict[str, Any]:
    rows = source.read(shard["shard"], schema.names)
    table.write_arrow(COPIED + shard["shard"], rows.select(schema.names))
    return {"rows": rows.num_rows}
