"""Means of judges' scores corrected by people's labels: prediction-powered inference on a stratified sample.

The estimate is lambda * mean(f) + sum over strata of W * mean(y - lambda * f), with the judge's score f of all answers
and the label y of those that were drawn. It is unbiased for any lambda, and lambda is chosen for a small variance. Its
interval is for personas like these: it counts the spread over personas beside that of the labels.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy

SHRINKAGE = 2
"""Labels that the pooled variance counts for in that of a stratum."""
MIN_STRATIFIED = 50
"""With fewer labels, pairs are one stratum."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; NaN where there are too few labels."""

    mean: float
    low: float
    high: float
    labels: int


@dataclass(frozen=True)
class Population:
    """All answers of one candidate, or all pairs of two: one entry per answer."""

    scores: np.ndarray
    """The judge's, shape (N,); NaN where it failed."""
    strata: np.ndarray
    """Numbers, shape (N,)."""
    personas: np.ndarray
    """Numbers, shape (N,)."""
    weights: np.ndarray
    """Shape (N,), with a sum of 1: tasks count alike."""
    persona_number: int
    """Of the evaluation, whether or not each has an answer here."""


@dataclass(frozen=True)
class PersonaMeans:
    """A mean, with what its variance and that of a difference to another one consist of."""

    mean: float
    label_variance: float
    """Variance that comes from having labels of a few answers only."""
    personas: np.ndarray
    """The mean of each persona, shape (number of personas,); NaN without one."""
    freedom: int
    labels: int


def raw_means(population: Population) -> PersonaMeans:
    """Return the mean of the judge's scores; failed answers are left out."""
    scored = ~np.isnan(population.scores)
    weights = population.weights * scored
    values = np.where(scored, population.scores, 0.0)
    mean = float((weights * values).sum() / weights.sum()) if scored.any() else math.nan
    personas = _persona_means(population, values, weights)
    return PersonaMeans(mean, 0.0, personas, int((~np.isnan(personas)).sum()) - 1, 0)


def calibrated_means(population: Population, drawn: np.ndarray, labels: np.ndarray) -> PersonaMeans | None:
    """Return the mean of people's scores, by their labels and the judge's scores of all; None of too few labels.

    Args:
        population: all answers.
        drawn: the indices of the labeled ones, shape (n,).
        labels: their labels, shape (n,).
    """
    strata = merge_unlabeled(population.strata, drawn)
    names, of = np.unique(strata, return_inverse=True)
    counts, hits = np.bincount(of, minlength=len(names)), np.bincount(of[drawn], minlength=len(names))
    if not len(drawn) or hits.min() < 2 or len(drawn) <= len(names) or np.isnan(population.scores).all():
        return None
    scores = np.where(np.isnan(population.scores), np.nanmean(population.scores), population.scores)
    share = np.bincount(of, population.weights, minlength=len(names))
    tuning = _tuning(scores[drawn], labels, of[drawn], share, counts, hits)
    rest = labels - tuning * scores[drawn]
    rest_means = np.bincount(of[drawn], rest, minlength=len(names)) / hits
    mean = float(tuning * (population.weights * scores).sum() + (share * rest_means).sum())
    label_variance = float((share**2 * _shrunk_variances(rest, of[drawn], hits) / hits).sum())
    personas = _persona_means(population, tuning * scores + rest_means[of], population.weights)
    return PersonaMeans(mean, label_variance, personas, len(drawn) - len(names), len(drawn))


def estimate(means: PersonaMeans | None) -> Estimate:
    """Return a mean with its interval."""
    if means is None:
        return Estimate(math.nan, math.nan, math.nan, 0)
    spread = means.personas[~np.isnan(means.personas)]
    variance = means.label_variance + (_variance(spread) / len(spread) if len(spread) else math.nan)
    return _interval(means.mean, variance, means.freedom, means.labels)


def estimate_difference(a: PersonaMeans | None, b: PersonaMeans | None) -> Estimate:
    """Return the difference of two means, a minus b, whose personas are the same."""
    if a is None or b is None:
        return Estimate(math.nan, math.nan, math.nan, 0)
    return estimate(
        PersonaMeans(
            a.mean - b.mean,
            a.label_variance + b.label_variance,
            a.personas - b.personas,
            min(a.freedom, b.freedom),
            a.labels + b.labels,
        )
    )


def merge_unlabeled(strata: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the strata with those of fewer than two labels joined to the one before, or the first to the next."""
    merged = strata.copy()
    while True:
        names, counts = np.unique(merged, return_counts=True)
        hits = np.array([(merged[drawn] == name).sum() for name in names])
        few = np.flatnonzero(hits < 2)
        if not len(few) or len(names) == 1:
            return merged
        at = few[np.argmin(counts[few])]
        merged[merged == names[at]] = names[at - 1] if at else names[1]


def weighted_kappa(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> float:
    """Return quadratically weighted kappa of two raters on a scale from 1 to 5; NaN where both are constant."""
    total = weights.sum()
    observed = (weights * (labels - scores) ** 2).sum() / total
    mean_y, mean_f = (weights * labels).sum() / total, (weights * scores).sum() / total
    spread = (weights * (labels - mean_y) ** 2).sum() + (weights * (scores - mean_f) ** 2).sum()
    expected = spread / total + (mean_y - mean_f) ** 2
    return float(1 - observed / expected) if expected else math.nan


def bootstrap_kappa(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, strata: np.ndarray, seed: int, draws: int = 1000
) -> tuple[float, float]:
    """Return the 95 % interval of weighted kappa, resampled within strata; it is approximate."""
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == name) for name in np.unique(strata)]
    values = []
    for _ in range(draws):
        chosen = np.concatenate([random.choice(group, len(group)) for group in members])
        values.append(weighted_kappa(labels[chosen], scores[chosen], weights[chosen]))
    found = [value for value in values if not math.isnan(value)]
    if not found:
        return math.nan, math.nan
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def _tuning(
    scores: np.ndarray, labels: np.ndarray, of: np.ndarray, share: np.ndarray, counts: np.ndarray, hits: np.ndarray
) -> float:
    above = below = 0.0
    for name, (weight, all_rows, drawn) in enumerate(zip(share, counts, hits, strict=True)):
        f, y = scores[of == name], labels[of == name]
        above += weight**2 * float(np.cov(f, y)[0, 1]) / drawn
        below += weight**2 * float(f.var(ddof=1)) * (1 / drawn + 1 / all_rows)
    return min(1.0, max(0.0, above / below)) if below else 0.0


def _shrunk_variances(values: np.ndarray, of: np.ndarray, hits: np.ndarray) -> np.ndarray:
    means = np.bincount(of, values, minlength=len(hits)) / hits
    squares = np.bincount(of, (values - means[of]) ** 2, minlength=len(hits))
    pooled = squares.sum() / (len(values) - len(hits))
    shrunk: np.ndarray = (squares + SHRINKAGE * pooled) / (hits - 1 + SHRINKAGE)
    return shrunk


def _persona_means(population: Population, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    sums = np.bincount(population.personas, weights * values, minlength=population.persona_number)
    totals = np.bincount(population.personas, weights, minlength=population.persona_number)
    means: np.ndarray = np.divide(sums, totals, out=np.full(len(sums), np.nan), where=totals > 0)
    return means


def _variance(values: np.ndarray) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else math.nan


def _interval(mean: float, variance: float, freedom: int, labels: int) -> Estimate:
    half = float(scipy.stats.t.ppf(0.975, freedom)) * math.sqrt(variance) if freedom > 0 else math.nan
    return Estimate(mean, mean - half, mean + half, labels)
