"""Proportions of yes-or-no outcomes: their intervals, and their change from one model to another."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its submodules load on first use


@dataclass(frozen=True)
class Proportion:
    """Hits among a number of trials, with a 95 % Wilson interval; without a trial all but the counts is NaN."""

    hits: float
    of: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedChange:
    """The change of the same trials from one model to another: after minus before.

    `gained` counts the trials that failed before and succeed after, `lost` the reverse. `p` is McNemar's exact
    two-sided p: how likely a split at least as uneven is if nothing changed. `low` and `high` are the 90 % interval of
    the change, with half a trial added to each of gained and lost (Agresti and Min), so that it has a width.
    """

    before: Proportion
    after: Proportion
    change: float
    low: float
    high: float
    gained: int
    lost: int
    p: float


def proportion(outcomes: Sequence[float]) -> Proportion:
    """Count hits.

    Args:
        outcomes: True, False or, for a tie, 0.5. A remaining half widens the interval: it covers the intervals of
            the whole numbers on both sides.
    """
    hits, of = float(sum(outcomes)), len(outcomes)
    if not of:
        return Proportion(hits, of, np.nan, np.nan, np.nan)
    low = _wilson(math.floor(hits), of).low
    high = _wilson(math.ceil(hits), of).high
    return Proportion(hits, of, hits / of, float(low), float(high))


def paired_change(before: Sequence[bool], after: Sequence[bool]) -> PairedChange:
    """Compare two models on the same trials, in the same order."""
    gained = sum(new and not old for old, new in zip(before, after, strict=True))
    lost = sum(old and not new for old, new in zip(before, after, strict=True))
    p = float(scipy.stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    old, new = proportion(before), proportion(after)
    low, high = _change_interval(gained, lost, len(before))
    return PairedChange(old, new, new.value - old.value, low, high, gained, lost, p)


def _change_interval(gained: int, lost: int, of: int) -> tuple[float, float]:
    if not of:
        return np.nan, np.nan
    size, middle = of + 2, (gained - lost) / (of + 2)
    half = scipy.special.ndtri(0.95) * math.sqrt(gained + lost + 1 - (gained - lost) ** 2 / size) / size
    return float(middle - half), float(middle + half)


def _wilson(hits: int, of: int) -> Any:
    return scipy.stats.binomtest(hits, of).proportion_ci(method="wilson")
