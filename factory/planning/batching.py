"""Time of one engine for a number of rows: continuous batching, with its tail of long replies.

An engine decodes up to `max_concurrency` rows at a time (vLLM's `max_num_seqs`). Each step adds one token to every
running row, and a row that ends is replaced by the next. When no row waits any more the batch drains, and the longest
replies determine the end. With C the maximum and b the number of running rows, a step takes

    s(b) = s(C) * (fixed + (1 - fixed) * b / C)

so all rows take (fixed * C * M + (1 - fixed) * W + prefill * P) / R seconds, where R is the throughput at full batch
(generated tokens per second), M the number of steps, W the generated tokens and P the prompt tokens that the prefix
cache does not serve. This module computes M from the lengths of the replies. All quantities are arrays of draws.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.planning.uncertainty import Draws, constant


@dataclass(frozen=True)
class ReplyLengths:
    """Distribution of the generated tokens per row, all turns together.

    `values` (size,) are sorted and positive; each line of `weights` (draws, size) adds up to 1.
    """

    values: Draws
    weights: Draws

    @staticmethod
    def from_sample(values: Draws, weights: Draws) -> "ReplyLengths":
        """Sort a sample; rows without a token get a tiny length."""
        order = np.argsort(values, kind="stable")
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
        to x has, over the mean. It is linear between two lengths, so the integral of its power is exact.
        """
        survival = 1.0 - np.minimum(np.cumsum(self.weights, axis=1), 1.0)
        survival = np.hstack([np.ones((len(survival), 1)), survival[:, :-1]])
        steps = np.diff(self.values, prepend=0.0)
        ends = np.minimum(np.cumsum(survival * steps, axis=1) / self.mean[:, None], 1.0)
        starts = np.hstack([np.zeros((len(ends), 1)), ends[:, :-1]])
        rise = ends - starts
        powers = (ends ** (rows + 1) - starts ** (rows + 1)) / ((rows + 1) * np.where(rise > 1e-12, rise, 1.0))
        all_within = np.where(rise > 1e-12, powers, starts**rows)
        return (1.0 - all_within) @ steps

    @property
    def mean_remaining(self) -> Draws:
        """Expected remainder of a row that is observed at a random moment."""
        return (self.weights @ self.values**2) / (2 * self.mean)


@dataclass(frozen=True)
class BatchCost:
    """Parameters of the time per step, as the module's docstring defines them."""

    max_concurrency: int
    fixed: Draws
    prefill: Draws


def decode_steps(lengths: ReplyLengths, rows: Draws, max_concurrency: int) -> Draws:
    """Return the number of steps from the first token to the last (M) of a number of rows on one engine."""
    alone = lengths.longest(rows)
    full = full_steps(lengths, rows, max_concurrency)
    drained = full - lengths.mean_remaining + lengths.longest_remaining(max_concurrency)
    return np.where(rows <= max_concurrency, alone, np.maximum(alone, drained))


def full_steps(lengths: ReplyLengths, rows: Draws, max_concurrency: int) -> Draws:
    """Return the number of steps where the batch stays full to the end."""
    return rows * lengths.mean / max_concurrency


def engine_work(
    lengths: ReplyLengths, prompt: Draws, rows: Draws, cost: BatchCost, steps: Draws | None = None
) -> Draws:
    """Return the work of a number of rows on one engine, in tokens at full batch: divided by R it is seconds.

    Args:
        lengths: generated tokens per row.
        prompt: prompt tokens per row that the prefix cache does not serve.
        rows: rows on this engine.
        cost: the engine's time per step.
        steps: from the first token to the last; computed by default. `full_steps` leaves out the tail.
    """
    steps = decode_steps(lengths, rows, cost.max_concurrency) if steps is None else steps
    tokens = rows * lengths.mean
    return cost.fixed * cost.max_concurrency * steps + (1 - cost.fixed) * tokens + cost.prefill * prompt * rows
