"""Ingestion: user files to a table of clean, distinct rows, through Ray.

    files ──read, clean──► spilled by key ──► a partition: deduplicated ──► shards

Accepted rows are in `<partition>-<n>` shards, sorted by id; rejected ones are in `rejected-*` shards.
"""

import hashlib
import itertools
import json
import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from factory.config.cast import Quota
from factory.records import Counts, Reject, content_id, int_key
from factory.runtime import metrics
from factory.runtime.build_table import Built, build_table
from factory.runtime.exchange import Exchanged, exchange, spill_row, to_spills
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, iter_rows, range_dataset
from factory.storage.rows import count_rows, ok_row, rejected_row
from factory.storage.shuffle import BYTES_PER_SPILL, ROWS_PER_SPILL, FileShuffle, partitions_for
from factory.storage.tables import REJECTED, Table, rows_per_shard
from factory.synthesis.exact_dedup import drop_duplicates
from factory.synthesis.input_files import read_rows, split_into_tasks
from factory.synthesis.input_formats import RawRow
from factory.synthesis.opening import SourceFile
from factory.synthesis.quotas import count_rows_by_stratum, cut, first_bucket_over, merge

COMPRESSED = (".gz", ".zst", ".parquet")
COMPRESSION_RATIO = 5
"""Estimated size of a compressed file's rows relative to the file."""


@dataclass(frozen=True)
class InputKind:
    """A kind of input rows and how they are read.

    `read(raw, source)` is pure: it returns a record whose id is the column `id_column`, or a Reject. It uses
    only `columns` of the raw row (None: all).
    """

    schema: pa.Schema
    id_column: str
    read: Callable[[RawRow, int], Any | Reject]
    columns: tuple[str, ...] | None = None
    read_file: Callable[[SourceFile, Collection[str] | None], Iterator[RawRow]] = read_rows
    quotas: tuple[Quota, ...] = ()
    """What the rows are cut by after deduplication; they then have a column `strata`."""
    has_unique_keys: bool = False
    """Whether equal ids come from equal keys of the source, whatever else differs, and not from equal texts."""


def ingest_files(
    kind: InputKind,
    files: Sequence[SourceFile],
    limit: int | None,
    table: Table,
    settings: dict[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Build the table of an input, unless it is finished, and return its manifest.

    The manifest's fingerprint is computed from the accepted rows and their shards, so later tables stay valid
    when the same content comes from other files and is cut into the same shards.
    """
    stats = [asdict(file) for file in files]
    fingerprint_inputs = {**settings, "files": stats, "limit": limit}
    size = sum(file.size * (COMPRESSION_RATIO if file.path.endswith(COMPRESSED) else 1) for file in files)
    shuffle = FileShuffle(table.temporary_folder, partitions_for(size), kind.schema)

    def work() -> Built:
        shuffle.delete()
        spills, source_rows = _spill_all(kind, files, limit, shuffle)
        rows = sum(spill["rows"] for spill in spills)
        exchanged = exchange(shuffle, to_spills(spills))
        counts, digest, languages = _write_all(kind, exchanged, table, rows_per_shard(rows), progress)
        table.check_complete(counts, rows)
        shuffle.delete()
        fields = {"files": stats, "source_rows": source_rows, **({"languages": languages} if languages else {})}
        return Built(counts, fields, digest)

    return build_table(table, fingerprint_inputs, None, work, progress)


def _spill_all(
    kind: InputKind, files: Sequence[SourceFile], limit: int | None, shuffle: FileShuffle
) -> tuple[list[dict[str, Any]], list[int]]:
    tasks = split_into_tasks(files, limit)
    work = range_dataset(len(tasks))
    spilled = work.flat_map(lambda row: _spill(kind, tasks[row["id"]], limit, shuffle), num_cpus=IO_TASK_CPUS)
    spills, source_rows = [], [0] * len(files)
    for spill in iter_rows(spilled):
        spills.append(spill)
        for source, rows in zip(spill["sources"], spill["source_rows"], strict=True):
            source_rows[source] = max(source_rows[source], rows)
    return spills, source_rows


def _spill(
    kind: InputKind, files: Sequence[tuple[int, SourceFile]], limit: int | None, shuffle: FileShuffle
) -> list[dict[str, Any]]:
    def rows() -> Iterator[tuple[int, RawRow]]:
        for source, file in files:
            for raw in kind.read_file(file, kind.columns):
                yield source, raw

    read = itertools.islice(rows(), limit)
    return list(iter(lambda: _spill_next(kind, read, shuffle), {}))


def _spill_next(kind: InputKind, read: Iterator[tuple[int, RawRow]], shuffle: FileShuffle) -> dict[str, Any]:
    """Write the next rows to a file of bounded size, and return what was written; {} at the end."""
    rows: list[dict[str, Any]] = []
    keys: list[int] = []
    ends: dict[int, int] = {}
    size = 0
    for source, raw in read:
        key, row = _row(kind, source, raw)
        keys.append(key)
        rows.append(row)
        ends[source] = raw.row + 1
        size += _size(row)
        if len(rows) == ROWS_PER_SPILL or size >= BYTES_PER_SPILL:
            break
    if not rows:
        return {}
    table = pa.Table.from_pylist(rows, schema=kind.schema)
    return {
        **spill_row(shuffle.spill(table, np.array(keys, np.int64))),
        "rows": len(rows),
        "sources": list(ends),
        "source_rows": list(ends.values()),
    }


def _size(row: dict[str, Any]) -> int:
    """Return the approximate number of bytes of a row's texts."""
    texts = [message["content"] for message in row.get("messages") or ()]
    return sum(len(text) for text in [*row.values(), *texts] if isinstance(text, str))


def _row(kind: InputKind, source: int, raw: RawRow) -> tuple[int, dict[str, Any]]:
    position = {"source": source, "row": raw.row}
    record = read_row(kind, source, raw)
    if isinstance(record, Reject):
        # Distributed by position, because otherwise a million rejects would be in one partition.
        return int_key(content_id(str(source), str(raw.row))), rejected_row(record, position)
    return int_key(getattr(record, kind.id_column)), ok_row(record) | position


def read_row(kind: InputKind, source: int, raw: RawRow) -> Any | Reject:
    """Return the record of a raw row, or a reject."""
    if raw.error:
        return Reject(raw.error, raw.detail)
    if isinstance(raw.value, dict) and None in raw.value:
        # An unquoted comma in a CSV row: using the cells before it would silently cut a text.
        return Reject("too_many_cells", repr(raw.value)[:2000])
    return kind.read(raw, source)


def _write_all(
    kind: InputKind, exchanged: Exchanged, table: Table, shard_rows: int, progress: Progress
) -> tuple[Counts, str, list[str]]:
    """Write every partition; return counts, a digest of the accepted rows, and the languages that they name.

    The digest is of the rows' ids and positions and of their shards: one more rejected row may change all shards, and
    tables that are built shard by shard must then be rebuilt.
    """
    partitions = exchanged.shuffle.partitions
    work = range_dataset(partitions)
    first_over = None
    if kind.quotas:
        counted = work.map(partial(_count_strata, kind, exchanged), num_cpus=IO_TASK_CPUS)
        first_over = first_bucket_over(merge(pickle.loads(row["counts"]) for row in iter_rows(counted)), kind.quotas)
    written = work.map(partial(_write, kind, exchanged, table, shard_rows, first_over), num_cpus=IO_TASK_CPUS)
    counts, digests, languages = Counts(), {}, set[str]()
    for row in iter_rows(written):
        part = Counts(**json.loads(row["counts"]))
        counts += part
        digests[row["partition"]] = row["digest"]
        languages.update(json.loads(row["languages"]))
        progress.advance(part)
        metrics.count(table.name, part)
    shards = f"{partitions} partitions, {shard_rows} rows a shard: "
    digest = hashlib.sha256((shards + "".join(digests[p] for p in sorted(digests))).encode()).hexdigest()[:16]
    return counts, digest, sorted(languages)


def _count_strata(kind: InputKind, exchanged: Exchanged, row: dict[str, Any]) -> dict[str, Any]:
    kept, _ = drop_duplicates(exchanged.collect(row["id"]), kind.id_column, kind.has_unique_keys)
    return {"counts": pickle.dumps(count_rows_by_stratum(kept, kind.quotas))}


def _write(
    kind: InputKind,
    exchanged: Exchanged,
    table: Table,
    shard_rows: int,
    first_over: Mapping[str, int] | None,
    row: dict[str, Any],
) -> dict[str, Any]:
    partition = row["id"]
    rows = exchanged.collect(partition)
    kept, rejected = drop_duplicates(rows, kind.id_column, kind.has_unique_keys)
    if first_over is not None:
        kept, over = cut(kept, kind.quotas, first_over)
        rejected = pa.concat_tables([rejected, over])
    for number, start in enumerate(range(0, kept.num_rows, shard_rows)):
        table.write_arrow(f"{partition:04}-{number:05}", kept.slice(start, shard_rows))
    if rejected.num_rows:
        table.write_arrow(f"{REJECTED}{partition:04}", rejected)
    identity = kept.select([kind.id_column, "source", "row"]).to_pydict()
    return {
        "partition": partition,
        "counts": json.dumps(asdict(count_rows(kept) + count_rows(rejected))),
        "digest": hashlib.sha256(repr(sorted(identity.items())).encode()).hexdigest()[:16],
        "languages": json.dumps(_languages(kept)),
    }


def _languages(rows: pa.Table) -> list[str]:
    """Return the languages that rows name, as `factory.text.language` calls them: curation accepts replies in them."""
    if "language" not in rows.schema.names:
        return []
    from factory.text.language import languages_named  # lingua takes a second to import

    named = rows["language"].drop_null().unique().to_pylist()
    return sorted(frozenset().union(*map(languages_named, named)))
