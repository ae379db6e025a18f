"""Sampling: which of the accepted dialogues are kept, and in which split, by hashes of ids and the seed alone."""

from collections.abc import Sequence

import numpy as np

from factory.records import content_id
from factory.text.ngrams import mix

SPLITS = ("train", "validation")


def hash_ranks(ids: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """Return a uint64 rank for each id, uniform over the whole range; distinct ids have distinct ranks."""
    return mix(ids ^ np.uint64(int(content_id(str(seed), purpose), 16)))


def in_validation(characters: np.ndarray, seed: int, fraction: float) -> np.ndarray:
    """Return a mask of the characters that are held out for validation, with all of their dialogues."""
    return hash_ranks(characters, seed, "split") < np.uint64(int(fraction * 2**64))


def row_quota(available: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Return how many rows each source contributes, as many as possible in these proportions."""
    whole = min(count / weight for count, weight in zip(available, weights, strict=True))
    return [min(count, round(weight * whole)) for count, weight in zip(available, weights, strict=True)]


def rank_threshold(ranks: np.ndarray, keep: int) -> int | None:
    """Return the rank below which exactly `keep` rows lie; None where all are kept."""
    return None if keep >= len(ranks) else int(np.partition(ranks, keep)[keep])


def over_limit(characters: np.ndarray, ranks: np.ndarray, limit: int) -> np.ndarray:
    """Return a mask of the rows over the limit of their character, which keeps those with the lowest ranks."""
    order = np.lexsort((ranks, characters))
    ordered = characters[order]
    starts = np.searchsorted(ordered, ordered)  # where the rows of each row's character begin
    over = np.empty(len(order), bool)
    over[order] = np.arange(len(order)) - starts >= limit
    return over
