"""Build the table of preference pairs: a task per shard finds pairs, and one per partition keeps each once.

judged answers, passed over ──a task per shard──┐
votes ──by prompt──► a task per partition ──────┴─► pairs ──by id──► a task per partition ──► preferences
"""

import pickle
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from factory.config import RunConfig
from factory.errors import InputError
from factory.job import Job, JobStep
from factory.preferences.preference_pairs import distinct_pairs, vote_pairs
from factory.preferences.preference_sources import VOTES, PreferenceTables, Unit, find_preference_tables, read_votes
from factory.records import Counts, PreferencePair, int_key
from factory.run_output import layout
from factory.runtime.build_table import Built, build_table
from factory.runtime.exchange import Exchanged, exchange_shards
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, iter_rows, range_dataset
from factory.storage import file_io
from factory.storage.rows import ok_row
from factory.storage.schemas import PREFERENCE_PAIRS, record_schema
from factory.storage.shuffle import FileShuffle, partitions_for
from factory.storage.tables import Table, compute_fingerprint

PAIRS = record_schema(PreferencePair)
BYTES_PER_PAIR = 4096
BYTES_PER_VOTE = 4096
"""Prompts with a profile and replies of a few hundred words."""
PAIRS_PER_SPILL = 4096


def build_preferences(config: RunConfig, progress: Progress) -> Table:
    """Build the table of a run's preference pairs, unless it is finished.

    Raises:
        ConfigError: the run has nothing that they are made of.
        InputError: no pair of replies differs enough.
    """
    found = find_preference_tables(config)
    table = layout.PREFERENCES.table(config.output)
    inputs = found.fingerprint_inputs()
    build_table(table, inputs, None, partial(_write, found, table), progress, repeatable=True)
    return table


def _write(found: PreferenceTables, table: Table) -> Built:
    temporary = table.temporary_folder
    units: list[Unit | int] = list(found.units())
    votes = _votes(found, temporary)
    units += range(votes.shuffle.partitions) if votes else []
    shuffle = FileShuffle(file_io.join(temporary, "pairs"), partitions_for(found.most_pairs * BYTES_PER_PAIR), PAIRS)
    read = partial(_read_pairs, found, votes)
    pairs = exchange_shards(shuffle, units, found.most_pairs, read, _pair_keys, PAIRS_PER_SPILL)
    written = range_dataset(shuffle.partitions).map(partial(_write_partition, pairs, table), num_cpus=IO_TASK_CPUS)
    counts: Counter[str] = Counter()
    for row in iter_rows(written):
        counts.update(pickle.loads(row["counts"]))
    file_io.delete_folder(temporary)
    if not counts:
        raise InputError(
            f"{table.path}: of the tables {', '.join(one.name for one in found.tables())} no two replies to one prompt "
            "differ enough; lower preferences.min_margin, or collect more votes"
        )
    return Built(Counts(ok=counts.total()), {"sources": dict(sorted(counts.items()))})


def _votes(found: PreferenceTables, temporary: str) -> Exchanged | None:
    """Group the votes by prompt."""
    if found.votes is None:
        return None
    rows = int((found.votes.manifest() or {})["ok"])
    shuffle = FileShuffle(file_io.join(temporary, "votes"), partitions_for(rows * BYTES_PER_VOTE), VOTES)
    return exchange_shards(shuffle, found.votes.shards(), rows, partial(read_votes, found.votes), _prompt_keys)


def _read_pairs(found: PreferenceTables, votes: Exchanged | None, unit: Unit | int) -> pa.Table:
    """Return the pairs of a shard, or of a partition of the votes."""
    if isinstance(unit, Unit):
        pairs = found.read_unit(unit)
    else:
        assert votes is not None
        pairs = _pairs_of_votes(votes.collect(unit))
    return pa.Table.from_pylist(list(map(ok_row, pairs)), schema=PAIRS)


def _pairs_of_votes(votes: pa.Table) -> Iterator[PreferencePair]:
    rows = sorted(votes.to_pylist(), key=_prompt)
    for _, group in groupby(rows, key=_prompt):
        yield from vote_pairs(group)


def _prompt(row: dict[str, Any]) -> str:
    return str(row["prompt_id"])


def _write_partition(pairs: Exchanged, table: Table, partition: dict[str, Any]) -> dict[str, Any]:
    rows = distinct_pairs(pairs.collect(partition["id"]).to_pylist())
    if rows:
        table.write(f"{partition['id']:05}", [{**row, "status": "ok"} for row in rows], PREFERENCE_PAIRS)
    return {"counts": pickle.dumps(Counter(row["source"] for row in rows))}


def _pair_keys(pairs: pa.Table) -> np.ndarray:
    return _keys(pairs["pair_id"])


def _prompt_keys(votes: pa.Table) -> np.ndarray:
    return _keys(votes["prompt_id"])


def _keys(ids: pa.ChunkedArray) -> np.ndarray:
    return np.array([int_key(one) for one in ids.to_pylist()], np.int64)


def _build(job: Job) -> None:
    build_preferences(job.config, job.progress)


def _open(job: Job) -> None:
    found, table = find_preference_tables(job.config), layout.PREFERENCES.table(job.config.output)
    inputs = found.fingerprint_inputs()
    table.begin(compute_fingerprint(inputs), inputs, job.progress.print)


def _check(config: RunConfig) -> None:
    find_preference_tables(config)


STEP = JobStep(_build, _check, lambda config, progress: _check(config), opens=_open, only_tables=True)
