"""Numbers with their uncertainty: a best value, and what it might be as well.

A quantity is an array of 1 + DRAWS numbers. The first is the best value; the others are drawn from what is known
of it. Arithmetic on whole arrays carries the uncertainty on, and what is common to two quantities stays common.
Seeds come from names, so the same plan comes out twice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factory.records import content_id

DRAWS = 200
LEVEL = 95
"""Per cent of the draws that an interval holds."""

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Range:
    """A best value and the ends of its 95 % interval, which always holds it."""

    point: float
    low: float
    high: float


def generator(*name: str) -> np.random.Generator:
    """The random numbers that belong to a name."""
    return np.random.default_rng(int(content_id(*name), 16))


def exactly(value: float) -> Draws:
    """A number that is known."""
    return np.full(1 + DRAWS, float(value))


def _drawn(point: float, draws: Any) -> Draws:
    return np.concatenate([[point], np.asarray(draws, np.float64)])


def give_or_take(value: float, part: float, name: str) -> Draws:
    """A positive number known up to a factor; `part` is the standard deviation of its logarithm."""
    return _drawn(value, value * np.exp(generator("give_or_take", name).normal(0, part, DRAWS)))


def between(low: float, value: float, high: float, name: str) -> Draws:
    """A number that may be anything from `low` to `high`."""
    return _drawn(value, generator("between", name).uniform(low, high, DRAWS))


def share(part: int, whole: int, name: str) -> Draws:
    """The share of a kind where `part` of `whole` rows were of it (Jeffreys' interval)."""
    return _drawn(part / whole, generator("share", name).beta(part + 0.5, whole - part + 0.5, DRAWS))


def resampled(size: int, name: str) -> Draws:
    """Weights of the rows of a sample in each draw, (1 + DRAWS, size): the bootstrap. Each line adds up to 1."""
    counts = generator("resampled", name).multinomial(size, np.full(size, 1 / size), DRAWS)
    return np.vstack([np.full(size, 1 / size), counts / size])


def range_of(draws: Draws) -> Range:
    """The best value and its interval."""
    low, high = np.percentile(draws[1:], [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    point = float(draws[0])
    return Range(point, min(point, float(low)), max(point, float(high)))
