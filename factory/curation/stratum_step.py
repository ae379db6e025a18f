"""Dialogues that the rules and the judge accepted and rejected, by the strata of their characters.

Those that near-duplicates, limits and shares of the mixture leave out count as accepted. Filter results and the strata
of profiles are spilled by character, and each partition joins and counts its own.
"""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory.curation.curation_run import CurationRun
from factory.curation.filter_step import PARTITION_BYTES, FilterResult
from factory.curation.verdicts import Verdicts
from factory.population.strata_counts import StrataCounts
from factory.runtime.exchange import Exchanged, exchange_shards
from factory.storage import file_io
from factory.storage.rows import character_numbers
from factory.storage.shuffle import FileShuffle
from factory.storage.tables import Table

RESULTS = pa.schema([("character", pa.uint64()), ("reason", pa.string())])
STRATA = pa.schema([("character_id", pa.string()), ("strata", pa.string())])
BYTES_PER_RESULT, BYTES_PER_STRATA = 24, 150


def count_strata(run: CurationRun, filtered: FilterResult, verdicts: Verdicts) -> StrataCounts:
    """Count the dialogues by stratum and by whether a rule or the judge rejects them.

    Nothing is counted where personas have no strata.
    """
    personas = run.config.personas_section
    if personas is None or not (personas.quotas or personas.draw or personas.language):
        return StrataCounts()
    profiles = (run.profiles.manifest() or {})["ok"]
    partitions = 1 + (run.rows * BYTES_PER_RESULT + profiles * BYTES_PER_STRATA) // PARTITION_BYTES
    folder = file_io.join(run.temporary, "strata")
    units = [(run.name(unit), unit["source"]) for unit in filtered.units]
    results = FileShuffle(file_io.join(folder, "results"), partitions, RESULTS)
    strata = FileShuffle(file_io.join(folder, "profiles"), partitions, STRATA)
    spilled = (
        exchange_shards(results, units, run.rows, partial(_read_results, run.filtered, verdicts), _result_keys),
        exchange_shards(
            strata, run.profiles.shards(), profiles, partial(_read, run.profiles, STRATA.names), character_numbers
        ),
    )
    counted = [_count_partition.remote(*spilled, partition) for partition in range(partitions)]
    return sum((ray.get(part) for part in counted), StrataCounts())


def _read(table: Table, columns: list[str], shard: str) -> pa.Table:
    return table.read(shard, columns).select(columns)


def _read_results(filtered: Table, verdicts: Verdicts, unit: tuple[str, int]) -> pa.Table:
    """Return the results of a unit's dialogues, with those of the judge."""
    name, source = unit
    rows = filtered.read(name, ["dialogue", *RESULTS.names])
    is_rejected = np.isin(rows["dialogue"].to_numpy(), verdicts.rejected(source, name))
    return pa.table([rows["character"], pc.if_else(is_rejected, "judged", rows["reason"])], schema=RESULTS)


def _result_keys(results: pa.Table) -> np.ndarray:
    return np.asarray(results["character"].to_numpy().astype(np.int64))


@ray.remote(num_cpus=1)
def _count_partition(results: Exchanged, profiles: Exchanged, partition: int) -> StrataCounts:
    rows, found = results.collect(partition), profiles.collect(partition)
    numbers = character_numbers(found).astype(np.uint64).tolist()
    strata = dict(zip(numbers, found["strata"].to_pylist(), strict=True))
    counts = StrataCounts()
    counts.add(
        [strata.get(character) for character in rows["character"].to_pylist()],
        [reason is None for reason in rows["reason"].to_pylist()],
    )
    return counts
