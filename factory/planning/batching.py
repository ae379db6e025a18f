"""How long one engine takes for some rows: continuous batching, with the tail of long replies.

An engine has so many places (vLLM's `max_num_seqs`). Every step gives each row that has a place one token, and a row
that ends leaves its place to the next. While rows wait all places are taken; then the engine drains, and the
longest replies decide when it ends. A step takes

    s(b) = s(B) * (fixed + (1 - fixed) * b / B)        with b of B places taken,

so the whole takes (fixed * B * M + (1 - fixed) * W + prefill * P) / R, where R is the generated tokens a second with
all places taken, M the steps from the first to the last, W the generated and P the prompt tokens that are computed.
M is what this module works out from the lengths of replies. All quantities are arrays of draws.
"""

from dataclasses import dataclass

import numpy as np

from factory.planning.uncertainty import Draws


@dataclass(frozen=True)
class Lengths:
    """How many tokens the rows of a phase have, one after the other within a row.

    `values` (size) are sorted and positive; each line of `weights` (draws, size) adds up to 1.
    """

    values: Draws
    weights: Draws

    @staticmethod
    def of(values: Draws, weights: Draws) -> "Lengths":
        """Sort a sample; a row without a token counts as one of a hair's breadth."""
        order = np.argsort(values, kind="stable")
        return Lengths(np.maximum(values[order], 1e-6), weights[:, order])

    @property
    def mean(self) -> Draws:
        """Tokens a row."""
        return self.weights @ self.values

    def longest_of(self, rows: Draws) -> Draws:
        """The expected longest of so many rows."""
        at_most = np.minimum(np.cumsum(self.weights, axis=1), 1.0)
        all_at_most = at_most ** np.maximum(rows, 1.0)[:, None]
        return np.diff(all_at_most, axis=1, prepend=0.0) @ self.values

    def longest_left_of(self, rows: int) -> Draws:
        """The expected longest rest of so many rows that are met at a random moment.

        The rest of such a row is at most x with the probability that a point of the time spent on all rows lies within
        x of its start: the integral of the chance that a row is longer, over the mean. It is a straight line between
        two lengths, and the integral of its power is exact.
        """
        longer = 1.0 - np.minimum(np.cumsum(self.weights, axis=1), 1.0)
        longer = np.hstack([np.ones((len(longer), 1)), longer[:, :-1]])
        steps = np.diff(self.values, prepend=0.0)
        ends = np.minimum(np.cumsum(longer * steps, axis=1) / self.mean[:, None], 1.0)
        starts = np.hstack([np.zeros((len(ends), 1)), ends[:, :-1]])
        rise = ends - starts
        powers = (ends ** (rows + 1) - starts ** (rows + 1)) / ((rows + 1) * np.where(rise > 1e-12, rise, 1.0))
        all_within = np.where(rise > 1e-12, powers, starts**rows)
        return (1.0 - all_within) @ steps

    @property
    def mean_left(self) -> Draws:
        """The expected rest of a row that is met at a random moment."""
        return (self.weights @ self.values**2) / (2 * self.mean)


def steps_for(lengths: Lengths, rows: Draws, places: int) -> Draws:
    """Steps from the first token to the last (M) for so many rows on one engine."""
    alone = lengths.longest_of(rows)
    drained = rows * lengths.mean / places - lengths.mean_left + lengths.longest_left_of(places)
    return np.where(rows <= places, alone, np.maximum(alone, drained))


@dataclass(frozen=True)
class Pace:
    """What decides how long a step takes: see the head of this module."""

    places: int
    fixed: Draws
    prefill: Draws


def work_for(lengths: Lengths, prompt: Draws, rows: Draws, pace: Pace, steps: Draws | None = None) -> Draws:
    """What so many rows take on one engine, in tokens at full speed: over R they are seconds.

    Args:
        lengths: of the replies.
        prompt: prompt tokens a row that are computed.
        rows: on this engine.
        pace: of it.
        steps: from the first to the last, where they are known.
    """
    steps = steps_for(lengths, rows, pace.places) if steps is None else steps
    tokens = rows * lengths.mean
    return pace.fixed * pace.places * steps + (1 - pace.fixed) * tokens + pace.prefill * prompt * rows


def work_without_tail(lengths: Lengths, prompt: Draws, rows: Draws, pace: Pace) -> Draws:
    """The same where the places stay taken to the end."""
    return rows * lengths.mean + pace.prefill * prompt * rows
