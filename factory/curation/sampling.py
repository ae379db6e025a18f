"""Which of the good dialogues are taken, and for what: by hashes of ids and the run's seed alone."""

from collections.abc import Sequence

import numpy as np

from factory.records import content_id
from factory.text.ngrams import mix

SPLITS = ("train", "validation")


def hash_ranks(ids: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """A number for each id (64-bit), even over the whole range; different ids have different ones."""
    return mix(ids ^ np.uint64(int(content_id(str(seed), purpose), 16)))


def in_validation(characters: np.ndarray, seed: int, fraction: float) -> np.ndarray:
    """Which characters are kept for validation, with all of their dialogues."""
    return hash_ranks(characters, seed, "split") < np.uint64(int(fraction * 2**64))


def row_quota(there: Sequence[int], weights: Sequence[float]) -> list[int]:
    """How many rows each source gives, so that they are as many as can be in these proportions."""
    whole = min(count / weight for count, weight in zip(there, weights, strict=True))
    return [min(count, round(weight * whole)) for count, weight in zip(there, weights, strict=True)]


def rank_threshold(drawn: np.ndarray, keep: int) -> int | None:
    """The draw below which exactly `keep` rows lie; None where all stay."""
    return None if keep >= len(drawn) else int(np.partition(drawn, keep)[keep])


def over_limit(characters: np.ndarray, drawn: np.ndarray, most: int) -> np.ndarray:
    """Which rows are over the limit of their character, which keeps those with the smallest draws."""
    order = np.lexsort((drawn, characters))
    ordered = characters[order]
    starts = np.searchsorted(ordered, ordered)  # where each one's character begins
    over = np.empty(len(order), bool)
    over[order] = np.arange(len(order)) - starts >= most
    return over
