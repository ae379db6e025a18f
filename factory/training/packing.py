"""Sequence packing: best fit decreasing.

A sequence is not padded: its segments, which are dialogues or parts of one, are concatenated, and each starts at
position 0; attention and loss do not cross segments (`attention.py`, `find_targets`).
"""

import bisect
from collections.abc import Sequence

import numpy as np


def pack(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Pack items of given lengths into sequences of at most `size` tokens, each item once.

    Best fit: the longest remaining item goes where it leaves the least space.

    Returns:
        The indices of each sequence's items. Equal input gives equal output.

    Raises:
        ValueError: an item is longer than a sequence.
    """
    sequences: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens left, sequence), sorted
    for item in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        length = lengths[item]
        if length > size:
            raise ValueError(f"an item of {length} tokens does not fit a sequence of {size}")
        index = bisect.bisect_left(free, (length, -1))
        if index < len(free):
            left, sequence = free.pop(index)
        else:
            left, sequence = size, len(sequences)
            sequences.append([])
        sequences[sequence].append(item)
        bisect.insort(free, (left - length, sequence))
    return sequences


def position_ids(lengths: Sequence[int]) -> np.ndarray:
    """Return the positions of a packed sequence, int64 of shape (tokens,); they restart with each segment."""
    return np.concatenate([np.arange(length) for length in lengths])


def find_targets(input_ids: np.ndarray, loss_mask: np.ndarray, lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return where the loss is computed.

    Returns:
        The positions whose next token is learned, int64 of shape (learned tokens,), and the index of
        the segment of each. The first token of a segment is never a target.
    """
    segment = np.repeat(np.arange(len(lengths)), lengths)
    learned = loss_mask[1:] & (segment[1:] == segment[:-1])
    positions = np.flatnonzero(learned)
    return positions, segment[positions]
