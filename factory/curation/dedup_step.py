"""Bands to groups of near-duplicates, and to who of each group stays.

    bands ──a partition each──► pairs ──one task──► who goes for whom

Only near-duplicates have pairs, 16 bytes each; the result stays in Ray's object store.
"""

from typing import Any

import numpy as np
import ray

from factory.curation.filter_step import SPILLED, FilterResult
from factory.curation.minhash import duplicate_groups, edges
from factory.curation.run import Run
from factory.storage.shuffle import FileShuffle


def find_near_duplicates(run: Run, examined: FilterResult) -> Any:
    """Find the near-duplicates among the good dialogues.

    Returns:
        A reference to two arrays: the ids that go, sorted, and the ids that stay for them.
    """
    bands = examined.bands
    if bands is None:
        return ray.put(duplicate_groups(np.zeros((0, 2), np.uint64)))
    files = ray.put([f"{run.name(unit)}{SPILLED}" for unit in examined.units])
    pairs = [_pairs.remote(bands, files, partition) for partition in range(bands.partitions)]
    twins = _keepers.remote(*pairs)
    ray.wait([twins], fetch_local=False)
    return twins


@ray.remote(num_cpus=1)
def _pairs(bands: FileShuffle, files: list[str], partition: int) -> np.ndarray:
    rows = bands.collect(files, partition)
    return edges(rows["band"].to_numpy(), rows["dialogue"].to_numpy())


@ray.remote(num_cpus=1)
def _keepers(*pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return duplicate_groups(np.concatenate(pairs))
