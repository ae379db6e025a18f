"""Intervals of means over personas, for scores that end at 1 and 5.

The unit is the persona: answers of one persona are correlated. Near an end of the scale most personas have the same
score, and the percentile bootstrap of a mean then covers the truth in .15 (4 personas) to .89 (200) of all cases. The
rules below cover it in .93 or more (`make bench ARGS=statistics`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy  # its submodules load on first use

LEVEL = 0.05
RESAMPLES = 2_000
SCALE = (1.0, 5.0)
DIFFERENCES = (-4.0, 4.0)
"""Ends of a difference of two scores."""
MIN_PERSONAS = 10
"""With fewer, nothing is claimed."""
MAX_WIDTH = 1.0
"""A wider interval is marked as too wide to say much."""
ROUNDING = 1e-9
"""A smaller difference of scores is rounding."""
_MIN_OFF_MODE = 10
_MIN_DIFFERING = 5
_SKEWNESS_FACTOR = 25
_MAX_RESAMPLED = 1_000
"""With more personas, the bootstrap-t interval is the t interval to the third digit."""


@dataclass(frozen=True)
class ScoreSummary:
    """Mean and population standard deviation over personas, with a 95 % interval of the mean.

    `personas` counts those that have a value. Undefined numbers are NaN: all of them without a persona, the interval
    with one. `too_few` is whether there are too few personas, or too wide an interval, to say much.
    """

    mean: float
    std: float
    low: float
    high: float
    personas: int
    too_few: bool


@dataclass(frozen=True)
class Share:
    """A count of a number, with a 95 % Clopper-Pearson interval of the share."""

    count: int
    of: int
    low: float
    high: float


def summarize(values: Sequence[float] | np.ndarray, seed: int, std: float | None = None) -> ScoreSummary:
    """Summarize one score per persona.

    Args:
        values: NaN where a persona has none.
        seed: of the resampling.
        std: shown in place of the standard deviation of the values; given for a PScore, whose values are those of
            `pscore.pscore_values` and whose interval is bootstrap-t.
    """
    present = _present(np.asarray(values, float))
    if not len(present):
        return ScoreSummary(np.nan, np.nan, np.nan, np.nan, 0, True)
    low, high = (mean_interval if std is None else pscore_interval)(present, seed)
    return ScoreSummary(
        mean=float(present.mean()),
        std=float(present.std()) if std is None else std,
        low=low,
        high=high,
        personas=len(present),
        too_few=len(present) < MIN_PERSONAS or high - low > MAX_WIDTH,
    )


def mean_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean: t where enough personas are off the most frequent value, else Gaffke's."""
    if len(values) < 2:
        return np.nan, np.nan
    off_mode = len(values) - np.unique(values.round(6), return_counts=True)[1].max()
    if off_mode >= _MIN_OFF_MODE and len(values) >= _SKEWNESS_FACTOR * _skewness(values) ** 2:
        return t_interval(values, SCALE)
    return gaffke_interval(values, seed, SCALE)


def pscore_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of a PScore: bootstrap-t, and t below 10 personas.

    Args:
        values: as `pscore.pscore_values` returns them, without NaN.
        seed: of the resampling.
    """
    if len(values) < 2:
        return np.nan, np.nan
    if values.std() < ROUNDING:
        return gaffke_interval(values, seed, SCALE)
    if not MIN_PERSONAS <= len(values) <= _MAX_RESAMPLED:
        return t_interval(values, SCALE)
    return _bootstrap_t_interval(values, seed)


def difference_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean difference: t where at least five personas differ, else Gaffke's.

    Args:
        values: differences, NaN where a persona has none.
        seed: of the resampling.
    """
    present = _present(values)
    if len(present) < 2:
        return np.nan, np.nan
    if np.count_nonzero(np.abs(present) > ROUNDING) >= _MIN_DIFFERING and present.std() > ROUNDING:
        return t_interval(present, DIFFERENCES)
    return gaffke_interval(present, seed, DIFFERENCES)


def gaffke_interval(values: np.ndarray, seed: int, ends: tuple[float, float]) -> tuple[float, float]:
    """Return Gaffke's 95 % interval: a Bayesian bootstrap with one more persona at the end of the scale.

    It has a width also where all values are equal.
    """
    # Equal values share one gamma draw of their number, so that memory does not grow with the personas.
    distinct, counts = np.unique(values.round(2), return_counts=True)
    weights = np.random.default_rng(seed).standard_gamma([*counts.tolist(), 1.0], (RESAMPLES, len(distinct) + 1))
    weights /= weights.sum(axis=1, keepdims=True)
    means, last = weights[:, :-1] @ distinct, weights[:, -1]
    low = np.quantile(means + last * ends[0], LEVEL / 2)
    high = np.quantile(means + last * ends[1], 1 - LEVEL / 2)
    return float(low), float(high)


def share(count: int, of: int) -> Share:
    """Return a count with the Clopper-Pearson interval of its share; NaN of nothing."""
    if not of:
        return Share(count, of, np.nan, np.nan)
    low = float(scipy.special.betaincinv(count, of - count + 1, LEVEL / 2)) if count else 0.0
    high = float(scipy.special.betaincinv(count + 1, of - count, 1 - LEVEL / 2)) if count < of else 1.0
    return Share(count, of, low, high)


def t_quantile(probability: float, degrees: float | np.ndarray) -> np.ndarray:
    """Return a quantile of Student's t; NaN for no degrees of freedom."""
    degrees = np.asarray(degrees, float)
    return np.asarray(scipy.special.stdtrit(np.where(degrees > 0, degrees, np.nan), probability))


def _skewness(values: np.ndarray) -> float:
    centered = values - values.mean()
    return float((centered**3).mean() / (centered**2).mean() ** 1.5)


def _present(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[~np.isnan(values)])


def t_interval(values: np.ndarray, ends: tuple[float, float] = (-np.inf, np.inf)) -> tuple[float, float]:
    """Return Student's 95 % interval of a mean; NaN for one value."""
    if len(values) < 2:
        return np.nan, np.nan
    half = float(t_quantile(1 - LEVEL / 2, len(values) - 1)) * values.std(ddof=1) / np.sqrt(len(values))
    return float(max(values.mean() - half, ends[0])), float(min(values.mean() + half, ends[1]))


def _bootstrap_t_interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    size, mean = len(values), values.mean()
    weights = _resampling_weights(size, seed)
    shifted = values - mean  # near 0, so that the variance below loses no digits
    off, squares = (weights @ np.stack([shifted, shifted**2], axis=1).astype(np.float32)).T
    error = np.sqrt(np.maximum(squares - off**2, 0) / (size - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(error > ROUNDING, off / error, np.where(np.abs(off) > ROUNDING, np.sign(off) * np.inf, 0))
    low, high = np.quantile(ratios, [1 - LEVEL / 2, LEVEL / 2], method="inverted_cdf")
    scale = values.std(ddof=1) / np.sqrt(size)
    return float(max(mean - low * scale, SCALE[0])), float(min(mean - high * scale, SCALE[1]))


@lru_cache(maxsize=8)
def _resampling_weights(size: int, seed: int) -> np.ndarray:
    """Return the weights of `size` personas in each resample (RESAMPLES, size)."""
    counts = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), RESAMPLES)
    return (counts / size).astype(np.float32)
