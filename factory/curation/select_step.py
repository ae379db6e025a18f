"""Selection: of the accepted, distinct dialogues keep those within a character's limit and the mixture's weights.

Dialogues and profiles are spilled by character, and each partition finds the dialogues that are over the
limit. Of the others a weighted source keeps those with the lowest ranks; one task per source computes the
threshold. Then each partition counts the characters that are left.
"""

import pickle
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory.curation.curation_run import CurationRun
from factory.curation.dataset_stats import ATTRIBUTES, CharacterStats
from factory.curation.filter_step import PARTITION_BYTES, FilterResult
from factory.curation.sampling import SPLITS, hash_ranks, in_validation, over_limit, rank_threshold, row_quota
from factory.curation.verdicts import Verdicts
from factory.errors import InputError
from factory.runtime.exchange import Exchanged, exchange_shards
from factory.storage import file_io
from factory.storage.rows import character_numbers
from factory.storage.shuffle import FileShuffle
from factory.storage.tables import Table
from factory.text.ngrams import contained

Duplicates = tuple[np.ndarray, np.ndarray]
"""The dropped ids, sorted, and for each the id that is kept instead."""
DIALOGUES = pa.schema([("dialogue", pa.uint64()), ("character", pa.uint64()), ("source", pa.int32())])
CHARACTERS = pa.schema([("character_id", pa.string()), *((name, pa.string()) for name in ATTRIBUTES)])
BYTES_PER_DIALOGUE, BYTES_PER_PROFILE = 20, 200


@dataclass(frozen=True)
class Selection:
    """Which dialogues are kept."""

    thresholds: list[int | None]
    """For each source the rank from which on its dialogues are over the mixture's quota."""
    over_limit: Any
    """A reference to the sorted ids of the dialogues that are over their character's limit."""
    characters: dict[str, CharacterStats]
    """The characters of each split."""


@dataclass(frozen=True)
class _Spilled:
    """Dialogues and profiles by character."""

    dialogues: Exchanged
    profiles: Exchanged


def select_dialogues(run: CurationRun, filtered: FilterResult, duplicates: Any, verdicts: Verdicts) -> Selection:
    """Choose among the accepted dialogues, without near-duplicates and those that the judge rejects.

    Raises:
        InputError: a source of a weighted mixture has none.
    """
    run_ref = ray.put(run)  # once, not with every task
    spilled = _spill(run, filtered, duplicates, verdicts)
    partitions = spilled.dialogues.shuffle.partitions
    limit = _limit.options(num_returns=2 + len(run.sources))
    limited: list[Any] = [limit.remote(run_ref, spilled, partition) for partition in range(partitions)]
    thresholds = _thresholds(run, limited)
    over = _sorted.remote(*[ids for ids, *_ in limited])
    counted = [
        _count_characters.remote(run_ref, spilled, partition, ids, thresholds)
        for partition, (ids, *_) in enumerate(limited)
    ]
    characters = {split: CharacterStats() for split in SPLITS}
    for result in counted:
        for split, stats in pickle.loads(ray.get(result)).items():
            characters[split] += stats
    return Selection(thresholds, over, characters)


def in_mixture(run: CurationRun, dialogues: np.ndarray, threshold: int | None) -> np.ndarray:
    """Return a mask of the dialogues that are within the quota of their source."""
    if threshold is None:
        return np.ones(len(dialogues), bool)
    return np.asarray(hash_ranks(dialogues, run.config.seed, "mixture") < np.uint64(threshold))


def _thresholds(run: CurationRun, limited: list[Any]) -> list[int | None]:
    sources = run.sources
    weights = [source.weight for source in sources if source.weight is not None]
    if not weights:
        return [None] * len(sources)
    available = [sum(counts) for counts in zip(*ray.get([counts for _, counts, *_ in limited]), strict=True)]
    for source, rows in zip(sources, available, strict=True):
        if not rows:
            raise InputError(
                f"curation.mixture: {source.name} has no accepted dialogue of {source.rows}, so the weights cannot "
                "hold; remove it, or loosen curation.quality"
            )
    ranks = zip(*[by_source for _, _, *by_source in limited], strict=True)
    quotas = row_quota(available, weights)
    return list(ray.get([_threshold.remote(quota, *parts) for quota, parts in zip(quotas, ranks, strict=True)]))


@ray.remote(num_cpus=1)
def _threshold(keep: int, *ranks: np.ndarray) -> int | None:
    return rank_threshold(np.concatenate(ranks), keep)


def _spill(run: CurationRun, filtered: FilterResult, duplicates: Any, verdicts: Verdicts) -> _Spilled:
    """Spill the accepted, distinct dialogues and the profiles by character."""
    profiles = (run.profiles.manifest() or {})["ok"]
    size = run.rows * BYTES_PER_DIALOGUE + profiles * BYTES_PER_PROFILE
    partitions = 1 + size // PARTITION_BYTES
    units = [(run.name(unit), unit["source"]) for unit in filtered.units]
    return _Spilled(
        exchange_shards(
            FileShuffle(file_io.join(run.temporary, "dialogues"), partitions, DIALOGUES),
            units,
            run.rows,
            partial(_read_dialogues, run.filtered, duplicates, verdicts),
            _dialogue_keys,
        ),
        exchange_shards(
            FileShuffle(file_io.join(run.temporary, "characters"), partitions, CHARACTERS),
            run.profiles.shards(),
            profiles,
            partial(_read_profiles, run.profiles),
            character_numbers,
        ),
    )


def _read_dialogues(filtered: Table, duplicates: Any, verdicts: Verdicts, unit: tuple[str, int]) -> pa.Table:
    name, source = unit
    rows = filtered.read(name, ["dialogue", "character", "reason"])
    rows = rows.filter(pc.is_null(rows["reason"]))
    dropped, _ = ray.get(duplicates)
    for left_out in (dropped, verdicts.rejected(source, name)):
        rows = rows.filter(pa.array(~contained(rows["dialogue"].to_numpy(), left_out)))
    sources = np.full(len(rows), source, np.int32)
    return pa.table([rows["dialogue"], rows["character"], sources], schema=DIALOGUES)


def _dialogue_keys(dialogues: pa.Table) -> np.ndarray:
    return np.asarray(dialogues["character"].to_numpy().astype(np.int64))


def _read_profiles(profiles: Table, shard: str) -> pa.Table:
    rows = profiles.read(shard, ["status", *CHARACTERS.names])
    return rows.filter(pc.equal(rows["status"], "ok"))


@ray.remote(num_cpus=1)
def _limit(run: CurationRun, spilled: _Spilled, partition: int) -> tuple[Any, ...]:
    """Return the ids of a partition that are over the limit, and each source's count and ranks of the others."""
    dialogues, characters, sources = _collect_dialogues(spilled, partition)
    limit = run.config.curation.max_per_character
    over = np.zeros(len(dialogues), bool)
    if limit:
        over = over_limit(characters, hash_ranks(dialogues, run.config.seed, "character"), limit)
    left = [dialogues[~over & (sources == number)] for number in range(len(run.sources))]
    ranks = [hash_ranks(ids, run.config.seed, "mixture") for ids in left]
    return dialogues[over], [len(ids) for ids in left], *ranks


@ray.remote(num_cpus=1)
def _count_characters(
    run: CurationRun, spilled: _Spilled, partition: int, over: np.ndarray, thresholds: list[int | None]
) -> bytes:
    """Return the statistics of a partition's characters that have a dialogue left, pickled, by split."""
    dialogues, characters, sources = _collect_dialogues(spilled, partition)
    kept = ~contained(dialogues, np.sort(over))
    for number, threshold in enumerate(thresholds):
        of_source = sources == number
        kept[of_source] &= in_mixture(run, dialogues[of_source], threshold)
    profiles = spilled.profiles.collect(partition)
    profiles = profiles.filter(pa.array(contained(character_numbers(profiles), np.unique(characters[kept]))))
    validation = in_validation(character_numbers(profiles), run.config.seed, run.config.curation.validation_fraction)
    stats = {split: CharacterStats() for split in SPLITS}
    for profile, is_validation in zip(profiles.to_pylist(), validation.tolist(), strict=True):
        stats[SPLITS[is_validation]].add(profile)
    return pickle.dumps(stats)


def _collect_dialogues(spilled: _Spilled, partition: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = spilled.dialogues.collect(partition)
    dialogues, characters, sources = (rows[name].to_numpy() for name in DIALOGUES.names)
    return dialogues, characters, sources


@ray.remote(num_cpus=1)
def _sorted(*parts: np.ndarray) -> np.ndarray:
    return np.sort(np.concatenate(parts))
