"""Instructions and profiles to work: every instruction with each of its characters' profiles.

    instructions, n characters each ──┐ spilled by
                                      ├─────────────► a partition: joined, sorted by character ──► shards
    profiles ─────────────────────────┘ character

A shard holds whole characters, and a shard is answered by one engine replica.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory.records import Counts
from factory.runtime import metrics
from factory.runtime.build_table import Built, build_table, identity
from factory.runtime.progress import Progress
from factory.runtime.ray_session import iter_rows, range_dataset
from factory.storage import file_io
from factory.storage.schemas import ASSIGNMENTS
from factory.storage.shuffle import FileShuffle, group_shards, partitions_for
from factory.storage.tables import Table, rows_per_shard
from factory.synthesis.assignment import cut_at_characters, draw_characters

BYTES_PER_ROW = 4096
"""About what an instruction and a profile take, to choose how many partitions there are."""

_ASKED = pa.schema([ASSIGNMENTS.field(name) for name in ("character_id", "instruction_id", "corpus", "messages")])
_SPEAKERS = pa.schema([ASSIGNMENTS.field(name) for name in ("character_id", "persona", "profile")])


def pair(instructions: Table, profiles: Table, table: Table, n: int, seed: int, progress: Progress) -> dict[str, Any]:
    """Make the work table of a corpus, unless it is there, and return its manifest.

    Characters are the accepted profiles in order of their ids. n is at most their number.
    """
    corpus, cast = instructions.manifest(), profiles.manifest()
    assert corpus is not None
    assert cast is not None
    decided = {
        "instructions": corpus["fingerprint"],
        "profiles": identity(profiles),
        "characters_per_instruction": n,
        "seed": seed,
    }
    rows = corpus["ok"] * n

    def work() -> Built:
        counts = _pair_all(instructions, profiles, table, corpus["source_rows"], n, seed, cast["ok"], rows, progress)
        return Built(counts, {"characters": cast["ok"]})

    return build_table(table, decided, rows, work, progress)


def _pair_all(
    instructions: Table,
    profiles: Table,
    table: Table,
    source_rows: list[int],
    n: int,
    seed: int,
    characters: int,
    rows: int,
    progress: Progress,
) -> Counts:
    folder = table.temporary_folder
    file_io.delete_folder(folder)
    partitions = partitions_for(rows * BYTES_PER_ROW)
    asked = FileShuffle(file_io.join(folder, "asked"), partitions, _ASKED)
    speakers = FileShuffle(file_io.join(folder, "speakers"), partitions, _SPEAKERS)
    # Both stay in the object store: 8 bytes a character, 4 a draw.
    cast = _sorted_cast.remote(profiles, profiles.shards())
    draws = _draw.remote(cast, sum(source_rows), n, seed)
    offsets = np.cumsum([0, *source_rows]).tolist()
    speaker_files = _spill_all(speakers, profiles, characters, partial(_read_profiles, profiles))
    ask = partial(_read_instructions, instructions, offsets, cast, draws)
    asked_files = _spill_all(asked, instructions, rows, ask)
    joined = range_dataset(partitions).map(
        partial(_join, asked, asked_files, speakers, speaker_files, table, rows_per_shard(rows)), num_cpus=0.5
    )
    counts = Counts()
    for row in iter_rows(joined):
        part = Counts(ok=row["rows"])
        counts += part
        progress.advance(part)
        metrics.count(table.name, part)
    file_io.delete_folder(folder)
    return counts


def _spill_all(exchange: FileShuffle, table: Table, rows: int, read: Callable[[str], pa.Table]) -> list[str]:
    """Spill so many rows of a table's shards, a run of shards a task."""
    runs = group_shards(table.shards(), rows)
    work = range_dataset(len(runs))
    spilled = work.flat_map(
        lambda row: [{"file": name} for name in exchange.spill_shards(runs[row["id"]], read, _keys)], num_cpus=0.5
    )
    return sorted(row["file"] for row in iter_rows(spilled))


@ray.remote(num_cpus=0.5)
def _sorted_cast(profiles: Table, shards: list[str]) -> np.ndarray:
    """The ids of all characters as unsigned 64-bit numbers, sorted."""
    ids: list[np.ndarray] = [np.array([], np.uint64)]
    for shard in shards:
        rows = profiles.read(shard, ["character_id", "status"])
        accepted = rows.filter(pc.equal(rows["status"], "ok"))
        ids.append(np.array([int(i, 16) for i in accepted["character_id"].to_pylist()], np.uint64))
    return np.sort(np.concatenate(ids))


@ray.remote(num_cpus=0.5)
def _draw(cast: np.ndarray, instructions: int, n: int, seed: int) -> np.ndarray:
    return draw_characters(instructions, len(cast), n, seed)


def _read_profiles(profiles: Table, shard: str) -> pa.Table:
    rows = profiles.read(shard, ["status", *_SPEAKERS.names])
    return rows.filter(pc.equal(rows["status"], "ok"))


def _read_instructions(instructions: Table, offsets: list[int], cast: Any, draws: Any, shard: str) -> pa.Table:
    """The instructions of a shard, each once for each of its characters."""
    rows = instructions.read(shard)
    rows = rows.filter(pc.equal(rows["status"], "ok"))
    names, drawn = ray.get([cast, draws])
    # A row's place in its corpus, counting refused rows too: a bad line shifts nobody's characters.
    places = np.take(offsets, rows["source"].to_numpy()) + rows["row"].to_numpy()
    keys = names[drawn[places]]
    n = keys.shape[1]
    rows = rows.take(np.repeat(np.arange(rows.num_rows), n))
    return rows.append_column("character_id", pa.array([f"{key:016x}" for key in keys.ravel().tolist()], pa.string()))


def _join(
    asked: FileShuffle,
    asked_files: list[str],
    speakers: FileShuffle,
    speaker_files: list[str],
    table: Table,
    shard_rows: int,
    row: dict[str, Any],
) -> dict[str, Any]:
    questions = asked.collect(asked_files, row["id"])
    # Arrow's join does not carry list columns, so the rows are matched by position.
    profiles = speakers.collect(speaker_files, row["id"]).sort_by("character_id")
    questions = questions.sort_by([("character_id", "ascending"), ("instruction_id", "ascending")])
    keys = _keys(questions)
    found = profiles.take(np.searchsorted(_keys(profiles).astype(np.uint64), keys.astype(np.uint64)))
    for name in ("persona", "profile"):
        questions = questions.append_column(name, found[name])
    questions = questions.select(ASSIGNMENTS.names)
    for number, (start, end) in enumerate(cut_at_characters(keys, shard_rows)):
        table.write_arrow(f"{row['id']:04}-{number:05}", questions.slice(start, end - start))
    return {"rows": questions.num_rows}


def _keys(rows: pa.Table) -> np.ndarray:
    return np.array([int(i, 16) for i in rows["character_id"].to_pylist()], np.uint64).astype(np.int64)
