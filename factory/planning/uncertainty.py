"""Quantities with their uncertainty, as Monte Carlo draws.

A quantity is an array of 1 + DRAWS numbers: the best estimate first, then draws from its distribution. Arithmetic on
whole arrays propagates the uncertainty, and what two quantities share stays correlated. Seeds derive from names, so
a plan is reproducible.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factory.records import content_id

DRAWS = 200
LEVEL = 95
"""Percent of the draws that an interval holds."""

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A best estimate and its 95 % interval, which always contains it."""

    point: float
    low: float
    high: float


def constant(value: float) -> Draws:
    """Return a quantity without uncertainty."""
    return np.full(1 + DRAWS, float(value))


UNKNOWN = constant(np.nan)


def lognormal(value: float, sigma: float, name: str) -> Draws:
    """Return a positive quantity that is uncertain by a factor; `sigma` is the standard deviation of its logarithm."""
    return np.append(value, value * np.exp(_generator("lognormal", name).normal(0, sigma, DRAWS)))


def uniform(low: float, value: float, high: float, name: str) -> Draws:
    """Return a quantity that may be anything from `low` to `high`."""
    return np.append(value, _generator("uniform", name).uniform(low, high, DRAWS))


def proportion(part: int, whole: int, name: str) -> Draws:
    """Return the proportion of rows of a kind, where `part` of `whole` were of it (Jeffreys interval)."""
    return np.append(part / whole, _generator("proportion", name).beta(part + 0.5, whole - part + 0.5, DRAWS))


def mean_of(sample: Draws, name: str) -> Draws:
    """Return the mean of a positive quantity, of which there is a sample of rows."""
    mean, error = sample.mean(), sample.std() / np.sqrt(len(sample))
    return np.append(mean, np.maximum(_generator("mean", name).normal(mean, error, DRAWS), 0))


def interval(draws: Draws) -> Interval | None:
    """Return the best estimate of a quantity and its interval; None if it is not known."""
    if np.isnan(draws[0]):
        return None
    low, high = np.percentile(draws[1:], [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    point = float(draws[0])
    return Interval(point, min(point, float(low)), max(point, float(high)))


def _generator(*name: str) -> np.random.Generator:
    return np.random.default_rng(int(content_id(*name), 16))
