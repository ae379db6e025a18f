"""Near-duplicate detection: group dialogues by LSH band, and choose which one of each group to keep.

    bands ──a task per partition──► pairs ──one task──► dropped and kept ids

Only near-duplicates have pairs, of 16 bytes each; the result stays in Ray's object store.
"""

from typing import Any

import numpy as np
import ray

from factory.curation.curation_run import CurationRun
from factory.curation.filter_step import SPILL_SUFFIX, FilterResult
from factory.curation.minhash import band_pairs, duplicate_groups
from factory.storage.shuffle import FileShuffle


def find_near_duplicates(run: CurationRun, filtered: FilterResult) -> Any:
    """Find the near-duplicates among the accepted dialogues.

    Returns:
        A reference to two arrays: the dropped ids, sorted, and for each the id that is kept instead.
    """
    bands = filtered.bands
    if bands is None:
        return ray.put(duplicate_groups(np.zeros((0, 2), np.uint64)))
    files = ray.put([f"{run.name(unit)}{SPILL_SUFFIX}" for unit in filtered.units])
    pairs = [_pairs.remote(bands, files, partition) for partition in range(bands.partitions)]
    duplicates = _groups.remote(*pairs)
    ray.wait([duplicates], fetch_local=False)
    return duplicates


@ray.remote(num_cpus=1)
def _pairs(bands: FileShuffle, files: list[str], partition: int) -> np.ndarray:
    rows = bands.collect(files, partition)
    return band_pairs(rows["band"].to_numpy(), rows["dialogue"].to_numpy())


@ray.remote(num_cpus=1)
def _groups(*pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return duplicate_groups(np.concatenate(pairs))
