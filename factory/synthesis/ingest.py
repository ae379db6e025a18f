"""User files to a finished table of clean, distinct rows: the part that Ray moves.

    files ──read, clean──► spilled by key ──► a partition: first of equals stays ──► shards

Accepted rows stand in `<partition>-<n>` shards, sorted by id; rejected ones in `rejected-*` files.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from factory.records import Counts, Reject, content_id, int_key
from factory.runtime import metrics
from factory.runtime.build_table import Built, build_table
from factory.runtime.progress import Progress
from factory.runtime.ray_session import iter_rows, range_dataset
from factory.storage.rows import count_rows, ok_row, rejected_row
from factory.storage.shuffle import BYTES_PER_SPILL, ROWS_PER_SPILL, FileShuffle, partitions_for
from factory.storage.tables import REJECTED, Table, rows_per_shard
from factory.synthesis.exact_dedup import drop_duplicates
from factory.synthesis.input_files import read_rows, tasks_of
from factory.synthesis.input_formats import RawRow
from factory.synthesis.opening import SourceFile

COMPRESSION = 5
"""About how many times smaller a compressed file is than its rows."""


@dataclass(frozen=True)
class Intake:
    """What is particular to a kind of input.

    `read(raw, source)` is pure: a record whose id is the column `id_column`, or a Reject. It looks at
    `columns` of the raw row alone (None: at all).
    """

    schema: pa.Schema
    id_column: str
    read: Callable[[RawRow, int], Any | Reject]
    columns: tuple[str, ...] | None = None


def take_in(
    intake: Intake,
    files: Sequence[SourceFile],
    limit: int | None,
    table: Table,
    settings: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Make the table of an input, unless it is there, and return its manifest.

    The manifest's fingerprint is that of the accepted rows and of how they are cut into shards: the
    same content from another place leaves everything behind it as it is, while it is cut as before.
    """
    stats = [asdict(file) for file in files]
    decided = {**settings, "files": stats, "limit": limit}
    exchange = FileShuffle(
        table.temporary_folder,
        partitions_for(
            sum(s["size"] * (COMPRESSION if s["path"].endswith((".gz", ".zst", ".parquet")) else 1) for s in stats)
        ),
        intake.schema,
    )

    def work() -> Built:
        exchange.delete()
        spills, source_rows = _spill_all(intake, files, limit, exchange, progress)
        rows = sum(spill["rows"] for spill in spills)
        counts, digest = _settle_all(
            intake, exchange, [s["file"] for s in spills], table, rows_per_shard(rows), progress
        )
        table.check_complete(counts, rows)
        exchange.delete()
        return Built(counts, {"files": stats, "source_rows": source_rows}, digest)

    return build_table(table, decided, None, work, progress)


def _spill_all(
    intake: Intake, files: Sequence[SourceFile], limit: int | None, exchange: FileShuffle, progress: Progress
) -> tuple[list[dict[str, Any]], list[int]]:
    tasks = tasks_of(files, limit)
    work = range_dataset(len(tasks))
    spilled = work.flat_map(lambda row: _spill(intake, tasks[row["id"]], limit, exchange), num_cpus=0.5)
    spills, source_rows = [], [0] * len(files)
    for spill in iter_rows(spilled):
        spills.append(spill)
        for source, rows in zip(spill["sources"], spill["source_rows"], strict=True):
            source_rows[source] = max(source_rows[source], rows)
    return sorted(spills, key=lambda spill: spill["file"]), source_rows


def _spill(
    intake: Intake, files: Sequence[tuple[int, SourceFile]], limit: int | None, exchange: FileShuffle
) -> list[dict[str, Any]]:
    def rows() -> Iterator[tuple[int, RawRow]]:
        for source, file in files:
            for raw in read_rows(file, intake.columns):
                yield source, raw

    read = itertools.islice(rows(), limit)
    return list(iter(lambda: _spill_some(intake, read, exchange), {}))


def _spill_some(intake: Intake, read: Iterator[tuple[int, RawRow]], exchange: FileShuffle) -> dict[str, Any]:
    """Write the next rows, as many as one file should hold, and return what was written; {} at the end."""
    made: list[dict[str, Any]] = []
    keys: list[int] = []
    ends: dict[int, int] = {}
    size = 0
    for source, raw in read:
        key, row = _row(intake, source, raw)
        keys.append(key)
        made.append(row)
        ends[source] = raw.row + 1
        size += _size(row)
        if len(made) == ROWS_PER_SPILL or size >= BYTES_PER_SPILL:
            break
    if not made:
        return {}
    table = pa.Table.from_pylist(made, schema=intake.schema)
    return {
        "file": exchange.spill(table, np.array(keys, np.int64)),
        "rows": len(made),
        "sources": list(ends),
        "source_rows": list(ends.values()),
    }


def _size(row: dict[str, Any]) -> int:
    """Return about how many bytes of text a row has."""
    said = [message["content"] for message in row.get("messages") or ()]
    return sum(len(text) for text in [*row.values(), *said] if isinstance(text, str))


def _row(intake: Intake, source: int, raw: RawRow) -> tuple[int, dict[str, Any]]:
    place = {"source": source, "row": raw.row}
    made = read_row(intake, source, raw)
    if isinstance(made, Reject):
        # Rejects are spread by their place, or a million of them would meet in one partition.
        return int_key(content_id(str(source), str(raw.row))), rejected_row(made, place)
    return int_key(getattr(made, intake.id_column)), ok_row(made) | place


def read_row(intake: Intake, source: int, raw: RawRow) -> Any | Reject:
    """Return the record of a raw row, or why there is none."""
    if raw.error:
        return Reject(raw.error, raw.detail)
    if isinstance(raw.value, dict) and None in raw.value:
        # An unquoted comma in a CSV row: taking what stands before it would cut a text in silence.
        return Reject("too_many_cells", repr(raw.value)[:2000])
    return intake.read(raw, source)


def _settle_all(
    intake: Intake, exchange: FileShuffle, files: list[str], table: Table, shard_rows: int, progress: Progress
) -> tuple[Counts, str]:
    """Write every partition; the digest is over the accepted rows' ids and places, in order, and their shards.

    A refused row more may cut all shards anew, and what is made shard by shard must then start anew too.
    """
    work = range_dataset(exchange.partitions)
    settled = work.map(partial(_settle, intake, exchange, files, table, shard_rows), num_cpus=0.5)
    counts, digests = Counts(), {}
    for row in iter_rows(settled):
        part = Counts(**json.loads(row["counts"]))
        counts += part
        digests[row["partition"]] = row["digest"]
        progress.advance(part)
        metrics.count(table.name, part)
    cut = f"{exchange.partitions} partitions, {shard_rows} rows a shard: "
    return counts, hashlib.sha256((cut + "".join(digests[p] for p in sorted(digests))).encode()).hexdigest()[:16]


def _settle(
    intake: Intake, exchange: FileShuffle, files: list[str], table: Table, shard_rows: int, row: dict[str, Any]
) -> dict[str, Any]:
    partition = row["id"]
    rows = exchange.collect(files, partition)
    kept, refused = drop_duplicates(rows, intake.id_column)
    for number, start in enumerate(range(0, kept.num_rows, shard_rows)):
        table.write_arrow(f"{partition:04}-{number:05}", kept.slice(start, shard_rows))
    if refused.num_rows:
        table.write_arrow(f"{REJECTED}{partition:04}", refused)
    identity = kept.select([intake.id_column, "source", "row"]).to_pydict()
    return {
        "partition": partition,
        "counts": json.dumps(asdict(count_rows(kept) + count_rows(refused))),
        "digest": hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:16],
    }
