"""Dialogues to sequences of at most so many tokens, by best fit, the longest first.

A sequence is not padded: its dialogues stand one behind the other, and each starts at position 0;
attention and loss end where it ends (`attention.py`, `targets`).
"""

import bisect
from collections.abc import Sequence

import numpy as np


def pack(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Put items of some lengths into sequences of at most `size` tokens, each item once.

    Best fit: the longest item that is left goes where the least room remains behind it.

    Returns:
        The positions of each sequence's items. Equal input gives equal output.

    Raises:
        ValueError: an item is longer than a sequence.
    """
    sequences: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, sequence), sorted
    for item in np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist():
        length = lengths[item]
        if length > size:
            raise ValueError(f"an item of {length} tokens does not fit a sequence of {size}")
        place = bisect.bisect_left(room, (length, -1))
        if place < len(room):
            left, sequence = room.pop(place)
        else:
            left, sequence = size, len(sequences)
            sequences.append([])
        sequences[sequence].append(item)
        bisect.insort(room, (left - length, sequence))
    return sequences


def position_ids(lengths: Sequence[int]) -> np.ndarray:
    """Positions of a packed sequence: they start again with each dialogue. int64 of shape (tokens,)."""
    return np.concatenate([np.arange(length) for length in lengths])


def targets(input_ids: np.ndarray, loss_mask: np.ndarray, lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Where the loss is taken.

    Returns:
        The positions whose next token is learned, int64 of shape (learned tokens,), and the number
        of the dialogue that each belongs to. The first token of a dialogue is never a target.
    """
    dialogue = np.repeat(np.arange(len(lengths)), lengths)
    learned = loss_mask[1:] & (dialogue[1:] == dialogue[:-1])
    places = np.flatnonzero(learned)
    return places, dialogue[places]
