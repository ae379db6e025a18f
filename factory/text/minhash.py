"""MinHash: signatures of replies, their LSH bands, and groups of near-duplicates.

Two dialogues whose signatures agree in a whole band are joined, and dialogues that are joined directly
or through others form a group. The smallest id of a group is kept, so the result depends on no order.
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
SHINGLE_WORDS = 3
WEIGHTS = (0.2, 0.8)
"""Weights of false positives and false negatives for the choice of bands: a missed near-duplicate is worse."""


@dataclass(frozen=True)
class Banding:
    """How a signature is cut: `bands` pieces of `rows` values."""

    bands: int
    rows: int

    def recall(self, similarity: float) -> float:
        """Return the probability that two texts of a similarity agree in a band."""
        return 1 - float(1 - similarity**self.rows) ** self.bands


@cache
def banding_for(threshold: float) -> Banding:
    """Return the best banding for a similarity threshold."""
    lsh = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, weights=WEIGHTS)
    return Banding(lsh.b, lsh.r)


@cache
def _empty_sketch() -> Any:
    return MinHash(num_perm=PERMUTATIONS, hashfunc=int)


def signature(hashes: np.ndarray) -> np.ndarray:
    """Return the MinHash values of a text, given by the hashes of its words.

    Returns:
        Array of shape (PERMUTATIONS,).
    """
    sketch = _empty_sketch().copy()
    sketch.update_batch(shingles(hashes, SHINGLE_WORDS).astype(np.uint32).tolist())
    return np.asarray(sketch.hashvalues)


def band_keys(signatures: np.ndarray, banding: Banding) -> np.ndarray:
    """Return a key for each band of each signature; equal bands have equal keys.

    Args:
        signatures: shape (texts, PERMUTATIONS).
        banding: how they are cut.

    Returns:
        uint64 of shape (texts, bands).
    """
    used = signatures[:, : banding.bands * banding.rows].reshape(len(signatures), banding.bands, banding.rows)
    keys = combine([used[:, :, row] for row in range(banding.rows)])
    return mix(keys + np.arange(banding.bands, dtype=np.uint64))  # equal pieces in different bands mean nothing


def band_pairs(bands: np.ndarray, dialogues: np.ndarray) -> np.ndarray:
    """Pair every dialogue of a band with the smallest id in it.

    Args:
        bands: band keys.
        dialogues: the id of the dialogue of each key.

    Returns:
        uint64 of shape (pairs, 2): (smallest, other), each pair once.
    """
    order = np.lexsort((dialogues, bands))
    bands, dialogues = bands[order], dialogues[order]
    first = np.ones(len(bands), bool)
    first[1:] = bands[1:] != bands[:-1]
    smallest = dialogues[np.flatnonzero(first)[np.cumsum(first) - 1]]
    pairs = np.stack([smallest, dialogues], axis=1)[~first]
    return np.unique(pairs, axis=0)


def duplicate_groups(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join pairs to groups, and return the dropped ids, sorted, and for each the smallest id of its group."""
    nodes, positions = np.unique(pairs, return_inverse=True)
    positions = positions.reshape(pairs.shape)
    ones = np.ones(len(positions), np.int8)
    joined = coo_array((ones, (positions[:, 0], positions[:, 1])), shape=(len(nodes), len(nodes)))
    count, group = connected_components(joined, directed=False)
    smallest = np.full(count, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, group, nodes)
    dropped = nodes != smallest[group]
    return nodes[dropped], smallest[group][dropped]


def spanning_pairs(pairs: np.ndarray) -> np.ndarray:
    """Return the fewest pairs that join the same groups: (smallest, other), uint64 of shape (pairs, 2)."""
    dropped, kept = duplicate_groups(pairs)
    return np.stack([kept, dropped], axis=1)
