"""What scores are worth: intervals, paired tests, agreement of the judges, and the pull of length.

The unit is the persona: its answers hang together, so personas are what is resampled and paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import krippendorff
import numpy as np
import scipy  # its parts load when they are used

RESAMPLES = 10_000
NUMBERS_AT_ONCE = 10_000_000
"""How many resampled values are in memory at a time: 80 MB."""
LEVEL = 0.05
SCORES = range(1, 6)
PSCORE = "PScore"
_NOTHING = 1e-9
"""Below it a difference of scores is rounding."""


@dataclass(frozen=True)
class Summary:
    """Mean and population standard deviation over personas, with a 95 % bootstrap interval of the mean.

    `personas` counts those that have a value. Numbers that cannot be had are NaN: all of them without a
    persona, the interval with one.
    """

    mean: float
    std: float
    low: float
    high: float
    personas: int


@dataclass(frozen=True)
class Comparison:
    """How much higher one candidate scores than another, over the personas that both have a score for.

    `difference` has a 95 % bootstrap interval. `effect` is Cohen's d_z: the mean of the differences over
    their sample standard deviation. `p` is of a two-sided sign-flip permutation test, `p_holm` is adjusted
    for the number of tasks, and NaN where nothing was adjusted. `significant` goes by `p_holm` where there
    is one.
    """

    task: str
    difference: float
    low: float
    high: float
    effect: float
    p: float
    p_holm: float
    personas: int
    significant: bool


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation and its two-sided p-value."""

    rho: float
    p: float


def summary(values: Sequence[float] | np.ndarray, seed: int) -> Summary:
    """Summarise one score of each persona, NaN where it has none."""
    there = _present(np.asarray(values, float))
    if not len(there):
        return Summary(np.nan, np.nan, np.nan, np.nan, 0)
    low, high = _interval(there, seed)
    return Summary(float(there.mean()), float(there.std()), low, high, len(there))


def persona_scores(cells: np.ndarray) -> np.ndarray:
    """The PScore of each persona: the mean of its task scores.

    It is NaN where one is missing. The tasks differ in height (TC is near 5, LH near 4), so a mean over
    fewer of them is another number: losing one would move a score that no answer moved.

    Args:
        cells: task scores (personas, tasks), NaN where there is none.
    """
    return np.asarray(np.asarray(cells, float).mean(axis=1))


def compare(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, seed: int) -> Comparison:
    """Compare two candidates, persona by persona; the difference is a's score less b's.

    Args:
        a: a score of each persona, NaN where it has none.
        b: likewise, in the same order.
        seed: of the resampling and of the permutations.
    """
    differences = _present(np.asarray(a, float) - np.asarray(b, float))
    differences[np.abs(differences) < _NOTHING] = 0  # or the test would find a direction in the last bits
    if not len(differences):
        return Comparison("", np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 0, False)
    low, high = _interval(differences, seed)
    p = _sign_flip_p(differences, seed)
    return Comparison(
        "", float(differences.mean()), low, high, _effect(differences), p, np.nan, len(differences), p < LEVEL
    )


def compare_all(cells_a: np.ndarray, cells_b: np.ndarray, tasks: Sequence[str], seed: int) -> list[Comparison]:
    """Compare two candidates in each task, Holm-corrected over the tasks, and in the PScore.

    The PScore comes last and is not among the corrected: it is the one question that was asked
    beforehand.

    Args:
        cells_a: task scores (personas, tasks), NaN where there is none.
        cells_b: likewise, the same personas in the same order.
        tasks: names of the columns.
        seed: of the resampling and of the permutations.
    """
    alone = [compare(cells_a[:, place], cells_b[:, place], seed) for place in range(len(tasks))]
    adjusted = holm([one.p for one in alone])
    by_task = [
        replace(one, task=task, p_holm=p, significant=p < LEVEL)
        for one, task, p in zip(alone, tasks, adjusted, strict=True)
    ]
    return [*by_task, replace(compare(persona_scores(cells_a), persona_scores(cells_b), seed), task=PSCORE)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, by Holm's step-down; a NaN stays one and does not count."""
    p = np.asarray(p_values, float)
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN is sorted last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return [float(one) for one in adjusted]


def agreement(values: np.ndarray) -> float | None:
    """Krippendorff's alpha of ordinal scores: 1 is perfect agreement, 0 is chance.

    It is None where it is not defined: no item has two scores, or those that have are all equal.

    Args:
        values: scores of 1 to 5 (judges, items), NaN where a judge has none.
    """
    values = np.asarray(values, float)
    # Counts, not the judges' own values, which the package would spread out to judges x items x scores.
    counts = np.stack([(values == score).sum(axis=0) for score in SCORES], axis=1)
    assert counts.sum() == (~np.isnan(values)).sum(), "a score is not among 1 to 5"
    counts = counts[counts.sum(axis=1) > 1]
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, value_domain=list(SCORES), level_of_measurement="ordinal"))


def length_correlation(
    lengths: Sequence[float] | np.ndarray, scores: Sequence[float] | np.ndarray
) -> Correlation | None:
    """Whether longer answers score higher; None with fewer than three, or where one of the two never varies.

    Args:
        lengths: of the answers, in words.
        scores: of the same answers, NaN where there is none.
    """
    length, score = np.asarray(lengths, float), np.asarray(scores, float)
    there = ~(np.isnan(length) | np.isnan(score))
    length, score = length[there], score[there]
    if len(score) < 3 or np.ptp(length) == 0 or np.ptp(score) == 0:
        return None
    told = scipy.stats.spearmanr(length, score)
    return Correlation(float(told.statistic), float(told.pvalue))


def _present(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[~np.isnan(values)])


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    if len(values) < 2:
        return np.nan, np.nan
    interval = scipy.stats.bootstrap(
        (values,),
        np.mean,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        batch=max(1, NUMBERS_AT_ONCE // len(values)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _sign_flip_p(differences: np.ndarray, seed: int) -> float:
    """All sign flips where they are fewer than RESAMPLES; NaN for one persona, which tells nothing."""
    if len(differences) < 2:
        return np.nan
    tested = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, NUMBERS_AT_ONCE // len(differences)),
        rng=np.random.default_rng(seed),
    )
    return float(tested.pvalue)


def _effect(differences: np.ndarray) -> float:
    """Cohen's d_z: 0 where nothing differs, NaN where all differ by the same or there is one."""
    if len(differences) < 2:
        return np.nan
    spread = float(differences.std(ddof=1))
    if spread < _NOTHING:
        return 0.0 if np.abs(differences).max() < _NOTHING else np.nan
    return float(differences.mean()) / spread
