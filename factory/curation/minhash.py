"""Replies that are nearly the same: MinHash signatures, bands of them, and which of a group stays.

Two dialogues whose signatures agree in a whole band are joined, and those that are joined directly
or through others are a group. Its smallest id stays, so neither order nor place decides.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from datasketch import MinHash, MinHashLSH
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from factory.text.ngrams import combine, mix, shingles

PERMUTATIONS = 128
SHINGLE = 3
WEIGHTS = (0.2, 0.8)
"""Of false alarms and of misses, when bands are chosen: a near-duplicate that stays weighs more."""


@dataclass(frozen=True)
class Banding:
    """How a signature is cut: `bands` pieces of `rows` values."""

    bands: int
    rows: int

    def caught(self, similarity: float) -> float:
        """How likely two texts of a similarity meet in a band."""
        return 1 - float(1 - similarity**self.rows) ** self.bands


@cache
def banding_for(similarity: float) -> Banding:
    """The best cut for a similarity from which on texts are near-duplicates."""
    lsh = MinHashLSH(threshold=similarity, num_perm=PERMUTATIONS, weights=WEIGHTS)
    return Banding(lsh.b, lsh.r)


@cache
def _blank() -> Any:
    return MinHash(num_perm=PERMUTATIONS, hashfunc=int)


def signature(hashes: np.ndarray) -> np.ndarray:
    """The MinHash values of a text, given by its words as numbers."""
    sketch = _blank().copy()
    sketch.update_batch(shingles(hashes, SHINGLE).astype(np.uint32).tolist())
    return np.asarray(sketch.hashvalues)


def band_keys(signatures: np.ndarray, banding: Banding) -> np.ndarray:
    """A 64-bit number for each band of each signature (a row each); equal bands have equal ones."""
    used = signatures[:, : banding.bands * banding.rows].reshape(len(signatures), banding.bands, banding.rows)
    keys = combine([used[:, :, row] for row in range(banding.rows)])
    return mix(keys + np.arange(banding.bands, dtype=np.uint64))  # equal pieces in other bands mean nothing


def edges(bands: np.ndarray, dialogues: np.ndarray) -> np.ndarray:
    """From every dialogue of a band to the smallest of it: (smallest, other), each pair once."""
    order = np.lexsort((dialogues, bands))
    bands, dialogues = bands[order], dialogues[order]
    first = np.ones(len(bands), bool)
    first[1:] = bands[1:] != bands[:-1]
    smallest = dialogues[np.flatnonzero(first)[np.cumsum(first) - 1]]
    pairs = np.stack([smallest, dialogues], axis=1)[~first]
    return np.unique(pairs, axis=0)


def duplicate_groups(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who goes for whom: the ids that go, sorted, and for each the smallest id of its group."""
    nodes, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    joined = coo_array((np.ones(len(places), np.int8), (places[:, 0], places[:, 1])), shape=(len(nodes), len(nodes)))
    count, group = connected_components(joined, directed=False)
    smallest = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, group, nodes)
    goes = nodes != smallest[group]
    return nodes[goes], smallest[group][goes]
