"""Good, distinct dialogues to those that are taken: by the mixture's weights, then a character's limit.

A weighted source keeps its lowest draws; a task a source finds out where the last of them lies. Then
dialogues and profiles are spilled by character, and each partition tells who is over the limit and
who is in the cast.
"""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory import storage
from factory.curation.examining import BYTES_A_PARTITION, Examined
from factory.curation.figures import ATTRIBUTES, Cast
from factory.curation.run import Run
from factory.curation.selection import SPLITS, beyond, cutoff, draws, in_validation, shares
from factory.curation.words import contained
from factory.errors import InputError
from factory.exchange import Exchange
from factory.tables import Row

Twins = tuple[np.ndarray, np.ndarray]
"""The ids that go, and those that stay for them."""
TAKEN = pa.schema([("dialogue", pa.uint64()), ("character", pa.uint64())])
CAST = pa.schema([("character_id", pa.string()), *((name, pa.string()) for name in ATTRIBUTES)])
BYTES_A_DIALOGUE, BYTES_A_PROFILE = 16, 200


@dataclass(frozen=True)
class Selected:
    """Which dialogues are taken."""

    cutoffs: list[int | None]
    """For each source the draw from which on its dialogues are over its weight."""
    over: Any
    """A reference to the sorted ids of the dialogues that are over their character's limit."""
    casts: dict[str, Cast]
    """The characters of each split."""


def select(run: Run, examined: Examined, twins: Any) -> Selected:
    """Choose among the good dialogues, near-duplicates left out.

    Raises:
        InputError: a source of a weighted mixture has none.
    """
    here = ray.put(run)  # once, not with every task
    cutoffs = _cutoffs(run, here, examined, twins)
    taken, speakers = _exchanges(run)
    spilled = [_spill_taken.remote(here, taken, twins, cutoffs, unit) for unit in examined.units]
    profiles = [_spill_profiles.remote(here, speakers, shard) for shard in run.profiles.shards()]
    files = ray.put((ray.get(spilled), ray.get(profiles)))
    made: list[Any] = [_choose.remote(here, taken, speakers, files, part) for part in range(taken.partitions)]
    over = _sorted.remote(*[overs for overs, _ in made])
    casts = {split: Cast() for split in SPLITS}
    for _, told in made:
        for split, cast in pickle.loads(ray.get(told)).items():
            casts[split] += cast
    return Selected(cutoffs, over, casts)


def _survivors(run: Run, unit: Row, twins: Twins, cutoffs: Sequence[int | None]) -> tuple[np.ndarray, np.ndarray]:
    """Ids and characters of a unit's dialogues that are good, distinct and within their source's weight."""
    verdicts = run.verdicts.read(run.name(unit), ["dialogue", "character", "reason"])
    good = verdicts.filter(pc.is_null(verdicts["reason"]))
    dialogues, characters = good["dialogue"].to_numpy(), good["character"].to_numpy()
    goes, _ = twins
    stays = ~contained(dialogues, goes) & within(run, dialogues, cutoffs[unit["source"]])
    return dialogues[stays], characters[stays]


def within(run: Run, dialogues: np.ndarray, below: int | None) -> np.ndarray:
    """Which dialogues are in their source's part of the mixture."""
    if below is None:
        return np.ones(len(dialogues), bool)
    return np.asarray(draws(dialogues, run.config.seed, "mixture") < np.uint64(below))


def _cutoffs(run: Run, here: Any, examined: Examined, twins: Any) -> list[int | None]:
    sources = run.sources
    everything: list[int | None] = [None] * len(sources)
    weights = [source.weight for source in sources if source.weight is not None]
    if not weights:
        return everything
    drawn: list[list[Any]] = [[] for _ in sources]
    there = [0] * len(sources)
    asked: list[tuple[int, Any]] = [(unit["source"], _draws.remote(here, unit, twins)) for unit in examined.units]
    for number, (numbers, rows) in asked:
        drawn[number].append(numbers)
        there[number] += ray.get(rows)
    for source, rows in zip(sources, there, strict=True):
        if not rows:
            raise InputError(
                f"curation.mixture: {source.name} has no good dialogue of {source.rows}, so no weights can hold; "
                "take it out, or loosen curation.quality"
            )
    parts = shares(there, weights)
    return list(ray.get([_cutoff.remote(part, *numbers) for part, numbers in zip(parts, drawn, strict=True)]))


@ray.remote(num_cpus=0.5, num_returns=2)
def _draws(run: Run, unit: Row, twins: Twins) -> tuple[np.ndarray, int]:
    dialogues, _ = _survivors(run, unit, twins, [None] * len(run.sources))
    return draws(dialogues, run.config.seed, "mixture"), len(dialogues)


@ray.remote(num_cpus=1)
def _cutoff(keep: int, *drawn: np.ndarray) -> int | None:
    return cutoff(np.concatenate(drawn), keep)


def _exchanges(run: Run) -> tuple[Exchange, Exchange]:
    profiles = (run.profiles.manifest() or {})["ok"]
    size = run.rows * BYTES_A_DIALOGUE + profiles * BYTES_A_PROFILE
    taken, speakers = (storage.join(run.scratch, name) for name in ("taken", "speakers"))
    partitions = 1 + size // BYTES_A_PARTITION
    return Exchange(taken, partitions, TAKEN), Exchange(speakers, partitions, CAST)


@ray.remote(num_cpus=0.5)
def _spill_taken(run: Run, taken: Exchange, twins: Twins, cutoffs: list[int | None], unit: Row) -> str:
    dialogues, characters = _survivors(run, unit, twins, cutoffs)
    rows = pa.table([dialogues, characters], schema=TAKEN)
    return taken.spill(rows, characters.astype(np.int64), f"{run.name(unit)}.arrow")


@ray.remote(num_cpus=0.5)
def _spill_profiles(run: Run, speakers: Exchange, shard: str) -> str:
    profiles = run.profiles.read(shard, ["status", *CAST.names])
    profiles = profiles.filter(pc.equal(profiles["status"], "ok"))
    return speakers.spill(profiles, _keys(profiles).astype(np.int64), f"{shard}.arrow")


def _keys(profiles: pa.Table) -> np.ndarray:
    return np.array([int(name, 16) for name in profiles["character_id"].to_pylist()], np.uint64)


@ray.remote(num_cpus=1, num_returns=2)
def _choose(
    run: Run, taken: Exchange, speakers: Exchange, files: tuple[list[str], list[str]], partition: int
) -> tuple[np.ndarray, bytes]:
    """The dialogues of some characters that are over the limit, and the cast of each split."""
    rows = taken.collect(files[0], partition)
    dialogues, characters = rows["dialogue"].to_numpy(), rows["character"].to_numpy()
    most = run.config.curation.max_per_character
    drawn = draws(dialogues, run.config.seed, "character")
    over = dialogues[beyond(characters, drawn, most)] if most else dialogues[:0]
    profiles = speakers.collect(files[1], partition)
    profiles = profiles.filter(pa.array(contained(_keys(profiles), np.unique(characters))))
    later = in_validation(_keys(profiles), run.config.seed, run.config.curation.validation_fraction)
    casts = {split: Cast() for split in SPLITS}
    for profile, in_later in zip(profiles.to_pylist(), later.tolist(), strict=True):
        casts[SPLITS[in_later]].add(profile)
    return over, pickle.dumps(casts)


@ray.remote(num_cpus=1)
def _sorted(*parts: np.ndarray) -> np.ndarray:
    return np.sort(np.concatenate(parts))
