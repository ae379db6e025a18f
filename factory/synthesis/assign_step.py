"""Assignment: every instruction with the profile of each of its characters.

    instructions, n characters each ──┐ spilled by
                                      ├─────────────► a partition: joined, sorted by character ──► shards
    profiles ─────────────────────────┘ character

A shard holds whole characters, whose requests share a prefix in the engine's cache.
"""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory.records import Counts
from factory.runtime import metrics
from factory.runtime.build_table import Built, build_table, identity
from factory.runtime.exchange import Exchanged, exchange_shards
from factory.runtime.progress import Progress
from factory.runtime.ray_session import IO_TASK_CPUS, iter_rows, range_dataset
from factory.storage import file_io
from factory.storage.rows import character_numbers
from factory.storage.schemas import ASSIGNMENTS
from factory.storage.shuffle import ROWS_PER_SPILL, FileShuffle, group_shards, partitions_for
from factory.storage.tables import Table, rows_per_shard
from factory.synthesis.assignment import cut_at_characters, draw_characters

BYTES_PER_ROW = 4096
"""Approximate size of an instruction with a profile, from which the number of partitions follows."""
ID_TASKS = 256
"""That read the ids of the characters, at most."""

_INSTRUCTIONS = pa.schema(
    [ASSIGNMENTS.field(name) for name in ("character_id", "instruction_id", "corpus", "messages")]
)
_PROFILES = pa.schema([ASSIGNMENTS.field(name) for name in ("character_id", "persona", "profile")])


def assign_characters(
    instructions: Table, profiles: Table, table: Table, n: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Build the assignments of a corpus, unless they are finished, and return their manifest.

    Characters are the accepted profiles in order of their ids. n is at most their number.
    """
    corpus, characters = instructions.manifest(), profiles.manifest()
    assert corpus is not None
    assert characters is not None
    fingerprint_inputs = {
        "instructions": corpus["fingerprint"],
        "profiles": identity(profiles),
        "characters_per_instruction": n,
        "seed": seed,
    }
    rows, count = corpus["ok"] * n, characters["ok"]

    def work() -> Built:
        folder = table.temporary_folder
        file_io.delete_folder(folder)
        partitions = partitions_for(rows * BYTES_PER_ROW)
        # Both stay in the object store: 8 bytes per character, 4 per draw.
        shards = group_shards(profiles.shards(), count, max(ROWS_PER_SPILL, count // ID_TASKS))
        ids = _sorted.remote(*[_ids.remote(profiles, group) for group in shards])
        draws = _draw.remote(ids, sum(corpus["source_rows"]), n, seed)
        offsets = np.cumsum([0, *corpus["source_rows"]]).tolist()
        shuffle = FileShuffle(file_io.join(folder, "profiles"), partitions, _PROFILES)
        by_profile = exchange_shards(
            shuffle, profiles.shards(), count, partial(_read_profiles, profiles), character_numbers
        )
        shuffle = FileShuffle(file_io.join(folder, "instructions"), partitions, _INSTRUCTIONS)
        read = partial(_read_instructions, instructions, offsets, ids, draws)
        by_instruction = exchange_shards(shuffle, instructions.shards(), rows, read, character_numbers)
        join = partial(_join, by_instruction, by_profile, table, rows_per_shard(rows))
        counts = Counts()
        for row in iter_rows(range_dataset(partitions).map(join, num_cpus=IO_TASK_CPUS)):
            part = Counts(ok=row["rows"])
            counts += part
            progress.advance(part)
            metrics.count(table.name, part)
        file_io.delete_folder(folder)
        return Built(counts, {"characters": count})

    return build_table(table, fingerprint_inputs, rows, work, progress)


@ray.remote(num_cpus=IO_TASK_CPUS)
def _ids(profiles: Table, shards: list[str]) -> np.ndarray:
    """Return the ids of the characters in some shards, as uint64."""
    ids: list[np.ndarray] = [np.array([], np.uint64)]
    for shard in shards:
        rows = profiles.read(shard, ["character_id", "status"])
        accepted = rows.filter(pc.equal(rows["status"], "ok"))
        ids.append(character_numbers(accepted))
    return np.concatenate(ids)


@ray.remote(num_cpus=IO_TASK_CPUS)
def _sorted(*ids: np.ndarray) -> np.ndarray:
    return np.sort(np.concatenate(ids))


@ray.remote(num_cpus=IO_TASK_CPUS)
def _draw(ids: np.ndarray, instructions: int, n: int, seed: int) -> np.ndarray:
    return draw_characters(instructions, len(ids), n, seed)


def _read_profiles(profiles: Table, shard: str) -> pa.Table:
    rows = profiles.read(shard, ["status", *_PROFILES.names])
    return rows.filter(pc.equal(rows["status"], "ok"))


def _read_instructions(instructions: Table, offsets: list[int], ids_ref: Any, draws_ref: Any, shard: str) -> pa.Table:
    """Return the instructions of a shard, each once for each of its characters."""
    rows = instructions.read(shard)
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    ids, draws = ray.get([ids_ref, draws_ref])
    # A row's number in its corpus includes rejected rows, so that a bad line does not change other draws.
    numbers = np.take(offsets, rows["source"].to_numpy()) + rows["row"].to_numpy()
    keys = ids[draws[numbers]]
    n = keys.shape[1]
    rows = rows.take(np.repeat(np.arange(rows.num_rows), n))
    return rows.append_column("character_id", pa.array([f"{key:016x}" for key in keys.ravel().tolist()], pa.string()))


def _join(
    instructions: Exchanged, profiles: Exchanged, table: Table, shard_rows: int, row: dict[str, Any]
) -> dict[str, Any]:
    rows = instructions.collect(row["id"])
    rows = rows.sort_by([("character_id", "ascending"), ("instruction_id", "ascending")])
    # Arrow's join does not support list columns, so the rows are matched by position.
    characters = profiles.collect(row["id"]).sort_by("character_id")
    keys = character_numbers(rows)
    matched = characters.take(np.searchsorted(character_numbers(characters), keys))
    for name in ("persona", "profile"):
        rows = rows.append_column(name, matched[name])
    rows = rows.select(ASSIGNMENTS.names)
    for number, (start, end) in enumerate(cut_at_characters(keys, shard_rows)):
        table.write_arrow(f"{row['id']:04}-{number:05}", rows.slice(start, end - start))
    return {"rows": rows.num_rows}
