"""Assignment: which characters answer which instruction, and how the rows are cut into shards."""

import random
from collections.abc import Iterator

import numpy as np

from factory.storage.tables import MAX_SHARD_ROWS


def draw_characters(instructions: int, characters: int, n: int, seed: int) -> np.ndarray:
    """Draw n distinct characters for each instruction, in file order; the numbers of distinct ones equal the paper's.

    Every corpus starts from the same seed. The draw is sequential (10 µs per instruction).

    Returns:
        int32 of shape (instructions, n): positions in the list of characters.
    """
    rng = random.Random(seed)
    positions = range(characters)
    draws = np.empty((instructions, n), np.int32)
    for number in range(instructions):
        draws[number] = rng.sample(positions, n)
    return draws


def cut_at_characters(keys: np.ndarray, shard_rows: int) -> Iterator[tuple[int, int]]:
    """Cut rows that are sorted by character into shards of whole characters.

    Only a character with more than MAX_SHARD_ROWS rows is cut, because a shard is one task.

    Yields:
        Start and end of each shard.
    """
    start = 0
    borders = [*(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    for border in borders:
        while border - start > MAX_SHARD_ROWS:
            yield start, start + MAX_SHARD_ROWS
            start += MAX_SHARD_ROWS
        if border - start >= shard_rows:
            yield start, border
            start = border
    if start < len(keys):
        yield start, len(keys)
