"""Time of one engine for a number of rows: continuous batching, with its tail of long replies.

An engine decodes up to `max_concurrency` rows at a time (vLLM's `max_num_seqs`). Each step adds one token to every
running row, and a row that ends is replaced by the next. When no row waits any more the batch drains, and the longest
replies determine the end. With C the maximum and b the number of running rows, a step takes

    s(b) = s(C) * (fixed + (1 - fixed) * b / C)

so all rows take (W + prefill * P + fixed * C * T) / R seconds, where R is the throughput at full batch (generated
tokens per second), W the generated tokens, P the prompt tokens that the prefix cache does not serve and T the number of
steps beyond the W / C of a batch that stays full. This module computes T from the lengths of the replies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVELS = 128
"""Points at which a distribution is averaged: within 0.2 % of its integral for 1,000 lognormal replies."""


@dataclass(frozen=True)
class ReplyLengths:
    """Distribution of the generated tokens per row, all turns together.

    `values` (size,) are sorted and positive; `at_most` (size,) are the probabilities that a reply is not longer.
    """

    values: NDArray[np.float64]
    at_most: NDArray[np.float64]

    @staticmethod
    def mixture(parts: Sequence[tuple[float, NDArray[np.float64]]]) -> "ReplyLengths":
        """Mix samples of several tables, each given with its number of rows; rows without a token get a tiny length."""
        values = np.concatenate([sample for _, sample in parts])
        weights = np.concatenate([np.full(len(sample), rows / max(len(sample), 1)) for rows, sample in parts])
        order = np.argsort(values, kind="stable")
        return ReplyLengths(np.maximum(values[order], 1e-6), np.cumsum(weights[order]) / weights.sum())

    @property
    def mean(self) -> float:
        """Tokens per row."""
        return self.longest(1)

    def longest(self, rows: float) -> float:
        """Return the expected longest of a number of rows."""
        return float(np.diff(self.at_most ** max(rows, 1.0), prepend=0.0) @ self.values)

    def longest_remaining(self, rows: int) -> float:
        """Return the expected longest remainder of a number of rows that are observed at a random moment.

        The remainder of such a row is at most x with the probability that the integral of the survival function up
        to x has, over the mean. It is linear between two lengths.
        """
        values = np.append(0.0, self.values)
        within = np.cumsum(np.diff(values) * (1.0 - np.append(0.0, self.at_most[:-1]))) / self.mean
        levels = ((np.arange(LEVELS) + 0.5) / LEVELS) ** (1 / rows)
        return float(np.interp(levels, np.append(0.0, within), values).mean())


def tail_steps(lengths: ReplyLengths, rows: float, max_concurrency: int) -> float:
    """Return how many steps a number of rows take on one engine beyond those of a batch that stays full to the end."""
    alone = lengths.longest(rows) - rows * lengths.mean / max_concurrency
    if rows <= max_concurrency:
        return alone
    return max(alone, lengths.longest_remaining(max_concurrency) - lengths.longest_remaining(1))
