"""Near-duplicate detection: group dialogues by LSH band, and choose which one of each group to keep.

    filtered ──spilled by band──► a task per partition ──► pairs ──joined──► dropped and kept ids

Only near-duplicates have pairs, of 16 bytes each, joined from 32 partitions at a time; the result is in
Ray's object store.
"""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from factory.curation.curation_run import CurationRun
from factory.curation.filter_step import PARTITION_BYTES, FilterResult
from factory.runtime.exchange import Exchanged, exchange_shards
from factory.storage import file_io
from factory.storage.shuffle import FileShuffle
from factory.storage.tables import Table
from factory.text.minhash import band_pairs, banding_for, duplicate_groups, spanning_pairs

BANDS = pa.schema([("band", pa.uint64()), ("dialogue", pa.uint64())])
BYTES_PER_BAND = 16
MERGED = 32
"""Partitions whose pairs are joined in one task: each dialogue is then in one pair, and no longer in one per band."""


def find_near_duplicates(run: CurationRun, filtered: FilterResult) -> Any:
    """Find the near-duplicates among the accepted dialogues.

    Returns:
        A reference to two arrays: the dropped ids, sorted, and for each the id that is kept instead.
    """
    threshold = run.config.curation.near_duplicates.threshold
    if threshold is None:
        return ray.put(duplicate_groups(np.zeros((0, 2), np.uint64)))
    rows = run.rows * banding_for(threshold).bands
    shuffle = FileShuffle(file_io.join(run.temporary, "bands"), 1 + rows * BYTES_PER_BAND // PARTITION_BYTES, BANDS)
    shards = [run.name(unit) for unit in filtered.units]
    bands = exchange_shards(shuffle, shards, run.rows, partial(_read, run.filtered), _keys)
    pairs = [_pairs.remote(bands, partition) for partition in range(shuffle.partitions)]
    while len(pairs) > MERGED:  # the pairs of all partitions together may not fit into one task
        pairs = [_spanning.remote(*pairs[start : start + MERGED]) for start in range(0, len(pairs), MERGED)]
    duplicates = _groups.remote(*pairs)
    ray.wait([duplicates], fetch_local=False)
    return duplicates


def _read(filtered: Table, shard: str) -> pa.Table:
    """Return the bands of a unit's accepted dialogues, each in a row."""
    rows = filtered.read(shard, ["dialogue", "bands"]).combine_chunks()
    owners = rows["dialogue"].take(pc.list_parent_indices(rows["bands"]))
    return pa.table([pc.list_flatten(rows["bands"]), owners], schema=BANDS)


def _keys(bands: pa.Table) -> np.ndarray:
    return np.asarray(bands["band"].to_numpy().astype(np.int64))


@ray.remote(num_cpus=1)
def _pairs(bands: Exchanged, partition: int) -> np.ndarray:
    rows = bands.collect(partition)
    return band_pairs(rows["band"].to_numpy(), rows["dialogue"].to_numpy())


@ray.remote(num_cpus=1)
def _spanning(*pairs: np.ndarray) -> np.ndarray:
    return spanning_pairs(np.concatenate(pairs))


@ray.remote(num_cpus=1)
def _groups(*pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return duplicate_groups(np.concatenate(pairs))
