"""Good, distinct dialogues to those that are taken: within a character's limit, and of these by the mixture's weights.

Dialogues and profiles are spilled by character, and each partition tells who is over the limit. Of what
that leaves a weighted source keeps its lowest draws; a task a source finds out where the last of them lies.
Then each partition tells who is in the cast.
"""

import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory.curation.dataset_stats import ATTRIBUTES, CharacterStats
from factory.curation.filter_step import BYTES_A_PARTITION, FilterResult
from factory.curation.run import Run
from factory.curation.sampling import SPLITS, hash_ranks, in_validation, over_limit, rank_threshold, row_quota
from factory.errors import InputError
from factory.storage import file_io
from factory.storage.rows import Row
from factory.storage.shuffle import FileShuffle
from factory.text.ngrams import contained

Twins = tuple[np.ndarray, np.ndarray]
"""The ids that go, and those that stay for them."""
TAKEN = pa.schema([("dialogue", pa.uint64()), ("character", pa.uint64()), ("source", pa.int32())])
CAST = pa.schema([("character_id", pa.string()), *((name, pa.string()) for name in ATTRIBUTES)])
BYTES_PER_DIALOGUE, BYTES_A_PROFILE = 20, 200


@dataclass(frozen=True)
class Selected:
    """Which dialogues are taken."""

    cutoffs: list[int | None]
    """For each source the draw from which on its dialogues are over its weight."""
    over: Any
    """A reference to the sorted ids of the dialogues that are over their character's limit."""
    casts: dict[str, CharacterStats]
    """The characters of each split."""


def select_dialogues(run: Run, examined: FilterResult, twins: Any) -> Selected:
    """Choose among the good dialogues, near-duplicates left out.

    Raises:
        InputError: a source of a weighted mixture has none.
    """
    here = ray.put(run)  # once, not with every task
    taken, speakers = _exchanges(run)
    spilled = [_spill_taken.remote(here, taken, twins, unit) for unit in examined.units]
    profiles = [_spill_profiles.remote(here, speakers, shard) for shard in run.profiles.shards()]
    files = ray.put((ray.get(spilled), ray.get(profiles)))
    limit = _limit.options(num_returns=2 + len(run.sources))
    limited: list[Any] = [limit.remote(here, taken, files, part) for part in range(taken.partitions)]
    cutoffs = _cutoffs(run, limited)
    over = _sorted.remote(*[overs for overs, *_ in limited])
    made = [
        _cast.remote(here, taken, speakers, files, part, overs, cutoffs) for part, (overs, *_) in enumerate(limited)
    ]
    casts = {split: CharacterStats() for split in SPLITS}
    for told in made:
        for split, cast in pickle.loads(ray.get(told)).items():
            casts[split] += cast
    return Selected(cutoffs, over, casts)


def within(run: Run, dialogues: np.ndarray, below: int | None) -> np.ndarray:
    """Which dialogues are in their source's part of the mixture."""
    if below is None:
        return np.ones(len(dialogues), bool)
    return np.asarray(hash_ranks(dialogues, run.config.seed, "mixture") < np.uint64(below))


def _cutoffs(run: Run, limited: list[Any]) -> list[int | None]:
    sources = run.sources
    weights = [source.weight for source in sources if source.weight is not None]
    if not weights:
        return [None] * len(sources)
    there = [sum(counts) for counts in zip(*ray.get([counts for _, counts, *_ in limited]), strict=True)]
    for source, rows in zip(sources, there, strict=True):
        if not rows:
            raise InputError(
                f"curation.mixture: {source.name} has no good dialogue of {source.rows}, so no weights can hold; "
                "take it out, or loosen curation.quality"
            )
    drawn = zip(*[numbers for _, _, *numbers in limited], strict=True)
    return list(
        ray.get(
            [_cutoff.remote(part, *numbers) for part, numbers in zip(row_quota(there, weights), drawn, strict=True)]
        )
    )


@ray.remote(num_cpus=1)
def _cutoff(keep: int, *drawn: np.ndarray) -> int | None:
    return rank_threshold(np.concatenate(drawn), keep)


def _exchanges(run: Run) -> tuple[FileShuffle, FileShuffle]:
    profiles = (run.profiles.manifest() or {})["ok"]
    size = run.rows * BYTES_PER_DIALOGUE + profiles * BYTES_A_PROFILE
    taken, speakers = (file_io.join(run.scratch, name) for name in ("taken", "speakers"))
    partitions = 1 + size // BYTES_A_PARTITION
    return FileShuffle(taken, partitions, TAKEN), FileShuffle(speakers, partitions, CAST)


@ray.remote(num_cpus=0.5)
def _spill_taken(run: Run, taken: FileShuffle, twins: Twins, unit: Row) -> str:
    verdicts = run.verdicts.read(run.name(unit), ["dialogue", "character", "reason"])
    good = verdicts.filter(pc.is_null(verdicts["reason"]))
    goes, _ = twins
    good = good.filter(pa.array(~contained(good["dialogue"].to_numpy(), goes)))
    characters = good["character"].to_numpy()
    rows = pa.table([good["dialogue"], good["character"], np.full(len(good), unit["source"], np.int32)], schema=TAKEN)
    return taken.spill(rows, characters.astype(np.int64), f"{run.name(unit)}.arrow")


@ray.remote(num_cpus=0.5)
def _spill_profiles(run: Run, speakers: FileShuffle, shard: str) -> str:
    profiles = run.profiles.read(shard, ["status", *CAST.names])
    profiles = profiles.filter(pc.equal(profiles["status"], "ok"))
    return speakers.spill(profiles, _keys(profiles).astype(np.int64), f"{shard}.arrow")


def _keys(profiles: pa.Table) -> np.ndarray:
    return np.array([int(name, 16) for name in profiles["character_id"].to_pylist()], np.uint64)


@ray.remote(num_cpus=1)
def _limit(run: Run, taken: FileShuffle, files: tuple[list[str], list[str]], partition: int) -> tuple[Any, ...]:
    """Of some characters: the dialogues that are over the limit, and of the others each source's count and draws."""
    rows = taken.collect(files[0], partition)
    dialogues, characters, sources = (rows[name].to_numpy() for name in TAKEN.names)
    most = run.config.curation.max_per_character
    over = np.zeros(len(dialogues), bool)
    if most:
        over = over_limit(characters, hash_ranks(dialogues, run.config.seed, "character"), most)
    left = [dialogues[~over & (sources == number)] for number in range(len(run.sources))]
    drawn = [hash_ranks(mine, run.config.seed, "mixture") for mine in left]
    return dialogues[over], [len(mine) for mine in left], *drawn


@ray.remote(num_cpus=1)
def _cast(
    run: Run,
    taken: FileShuffle,
    speakers: FileShuffle,
    files: tuple[list[str], list[str]],
    partition: int,
    over: np.ndarray,
    cutoffs: list[int | None],
) -> bytes:
    """Who of some characters is in the cast of each split."""
    rows = taken.collect(files[0], partition)
    dialogues, characters, sources = (rows[name].to_numpy() for name in TAKEN.names)
    stays = ~contained(dialogues, np.sort(over))
    for number, below in enumerate(cutoffs):
        mine = sources == number
        stays[mine] &= within(run, dialogues[mine], below)
    profiles = speakers.collect(files[1], partition)
    profiles = profiles.filter(pa.array(contained(_keys(profiles), np.unique(characters[stays]))))
    later = in_validation(_keys(profiles), run.config.seed, run.config.curation.validation_fraction)
    casts = {split: CharacterStats() for split in SPLITS}
    for profile, in_later in zip(profiles.to_pylist(), later.tolist(), strict=True):
        casts[SPLITS[in_later]].add(profile)
    return pickle.dumps(casts)


@ray.remote(num_cpus=1)
def _sorted(*parts: np.ndarray) -> np.ndarray:
    return np.sort(np.concatenate(parts))
