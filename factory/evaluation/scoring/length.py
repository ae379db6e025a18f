"""Length of the answers and their scores: a correlation within tasks, and differences at equal length.

Length may itself be quality, so plain differences are what is tested; these stand beside them.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load on first use

from factory.evaluation.scoring.intervals import LEVEL, ROUNDING, t_quantile

MIN_PERSONAS = 3


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation of length and score within tasks, and its two-sided p-value over personas."""

    rho: float
    p: float


@dataclass(frozen=True)
class LengthControlled:
    """The difference of two candidates at equal length, with its 95 % interval.

    `slope` is how much the score changes where an answer gets e times as long.
    """

    difference: float
    low: float
    high: float
    slope: float


def length_correlation(
    words: np.ndarray, scores: np.ndarray, persona: np.ndarray, task: np.ndarray
) -> RankCorrelation | None:
    """Correlate length and score within tasks; None with fewer than three personas, or where one is constant.

    Lengths and scores are ranked within each task, and each persona's mean of both is subtracted: tasks differ in
    both, and so do personas, without a link between the two. Pooled over tasks, unrelated ones correlated in .6 to 1
    of all cases at the level .05; within tasks in .04 to .06.

    Args:
        words: length of each answer (answers,).
        scores: of the same answers, NaN where there is none.
        persona: number of the persona of each.
        task: number of the task of each.
    """
    present = ~(np.isnan(words) | np.isnan(scores))
    persona, task = persona[present], task[present]
    owners, persona = np.unique(persona, return_inverse=True)
    ranks = [_ranks(values[present], persona, task, len(owners)) for values in (words, scores)]
    spread = [float((one**2).sum()) for one in ranks]
    if len(owners) < MIN_PERSONAS or min(spread) < ROUNDING:
        return None
    products = np.bincount(persona, ranks[0] * ranks[1])
    error = products.std(ddof=1) / np.sqrt(len(products))
    rho = float(products.sum() / np.sqrt(spread[0] * spread[1]))
    if error < ROUNDING:
        return RankCorrelation(rho, 0.0 if abs(rho) > ROUNDING else 1.0)
    return RankCorrelation(rho, float(2 * scipy.stats.t.sf(abs(products.mean()) / error, len(products) - 1)))


def _ranks(values: np.ndarray, persona: np.ndarray, task: np.ndarray, personas: int) -> np.ndarray:
    """Return ranks within tasks, as shares of the task's answers, less each persona's mean."""
    values, sizes = values.astype(float), np.bincount(task)
    # Tasks one after another in one ranking: a call per task takes three times as long.
    overall = scipy.stats.rankdata(task * (1 + np.ptp(values)) + values) if len(values) else values
    ranks = (overall - (np.cumsum(sizes) - sizes)[task]) / sizes[task]
    count = np.bincount(persona, minlength=personas)
    return np.asarray(ranks - (np.bincount(persona, ranks, minlength=personas) / np.maximum(count, 1))[persona])


def length_controlled(
    difference: np.ndarray, log_ratio: np.ndarray, persona: np.ndarray, task: np.ndarray
) -> LengthControlled | None:
    """Estimate the difference of two candidates at equal length; None where it cannot be.

    Least squares of the difference on the task and the log ratio of the lengths, with a slope that tasks share. The
    result is the mean of the tasks' intercepts at equal length, its error clustered by persona (CR1).

    Args:
        difference: of the scores of each question, NaN where there is none.
        log_ratio: log of a's words over b's.
        persona: number of the persona of each question.
        task: number of the task of each.
    """
    present = np.isfinite(difference) & np.isfinite(log_ratio)
    tasks, task = np.unique(task[present], return_inverse=True)
    _, persona = np.unique(persona[present], return_inverse=True)
    y, x = difference[present], log_ratio[present]
    personas = int(persona.max()) + 1 if len(persona) else 0
    if personas < MIN_PERSONAS:
        return None
    count = np.bincount(task)
    y_mean, x_mean = np.bincount(task, y) / count, np.bincount(task, x) / count
    centered = x - x_mean[task]
    squares = float((centered**2).sum())
    if squares < ROUNDING:
        return None
    slope = float(centered @ (y - y_mean[task])) / squares
    estimate = float(y_mean.mean() - slope * x_mean.mean())
    residual = y - y_mean[task] - slope * centered
    influence = residual * (1 / (len(tasks) * count[task]) - x_mean.mean() * centered / squares)
    by_persona = np.bincount(persona, influence)
    half = t_quantile(1 - LEVEL / 2, personas - 1) * np.sqrt(personas / (personas - 1) * (by_persona**2).sum())
    return LengthControlled(estimate, float(estimate - half), float(estimate + half), slope)
