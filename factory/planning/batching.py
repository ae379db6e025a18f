"""Time of one engine for a number of rows: continuous batching, with its tail of long replies.

An engine decodes up to `max_concurrency` rows at a time (vLLM's `max_num_seqs`). Each step adds one token to every
running row, and a row that ends is replaced by the next. When no row waits any more the batch drains, and the longest
replies determine the end. With C the maximum and b the number of running rows, a step takes

    s(b) = s(C) * (fixed + (1 - fixed) * b / C)

so all rows take (W + prefill * P + fixed * C * T) / R seconds, where R is the throughput at full batch (generated
tokens per second), W the generated tokens, P the prompt tokens that the prefix cache does not serve and T the number of
steps beyond the W / C of a batch that stays full. This module computes T from the lengths of the replies. All
quantities are arrays of draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.planning.uncertainty import DRAWS, Draws, constant

LEVELS = 128
"""Points at which a distribution is averaged: within 0.2 % of its integral for 1,000 lognormal replies."""


@dataclass(frozen=True)
class ReplyLengths:
    """Distribution of the generated tokens per row, all turns together.

    `values` (size,) are sorted and positive; each line of `weights` (draws, size) adds up to 1.
    """

    values: Draws
    weights: Draws

    @staticmethod
    def from_sample(values: Draws, weights: Draws | None = None) -> "ReplyLengths":
        """Sort a sample, of even weights by default; rows without a token get a tiny length."""
        order = np.argsort(values, kind="stable")
        weights = np.full((1 + DRAWS, len(values)), 1 / len(values)) if weights is None else weights
        return ReplyLengths(np.maximum(values[order], 1e-6), weights[:, order])

    @staticmethod
    def mixture(parts: Sequence[tuple[Draws, "ReplyLengths"]]) -> "ReplyLengths":
        """Mix the distributions of several tables, each given with its number of rows."""
        total = sum((rows for rows, _ in parts), constant(0))
        return ReplyLengths.from_sample(
            np.concatenate([lengths.values for _, lengths in parts]),
            np.hstack([lengths.weights * (rows / total)[:, None] for rows, lengths in parts]),
        )

    @property
    def mean(self) -> Draws:
        """Tokens per row."""
        return self.weights @ self.values

    def longest(self, rows: Draws) -> Draws:
        """Return the expected longest of a number of rows."""
        at_most = np.minimum(np.cumsum(self.weights, axis=1), 1.0)
        all_at_most = at_most ** np.maximum(rows, 1.0)[:, None]
        return np.diff(all_at_most, axis=1, prepend=0.0) @ self.values

    def longest_remaining(self, rows: int) -> Draws:
        """Return the expected longest remainder of a number of rows that are observed at a random moment.

        The remainder of such a row is at most x with the probability that the integral of the survival function up
        to x has, over the mean. It is linear between two lengths.
        """
        shorter, at_most = np.cumsum(self.weights * self.values, axis=1), np.cumsum(self.weights, axis=1)
        within = np.pad((shorter + (1.0 - at_most) * self.values) / self.mean[:, None], ((0, 0), (1, 0)))
        levels = ((np.arange(LEVELS) + 0.5) / LEVELS) ** (1 / rows)
        values = np.concatenate([[0.0], self.values])
        return np.array([np.interp(levels, chances, values).mean() for chances in within])


def tail_steps(lengths: ReplyLengths, rows: Draws, max_concurrency: int) -> Draws:
    """Return how many steps a number of rows take on one engine beyond those of a batch that stays full to the end."""
    alone = lengths.longest(rows) - rows * lengths.mean / max_concurrency
    drained = lengths.longest_remaining(max_concurrency) - lengths.longest_remaining(1)
    return np.where(rows <= max_concurrency, alone, np.maximum(alone, drained))
