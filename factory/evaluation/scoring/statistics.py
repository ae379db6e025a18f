"""Statistics of scores: intervals, paired tests, agreement of judges, and correlation with length.

The unit is the persona. Answers of one persona are correlated, so we resample and pair by persona.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import krippendorff
import numpy as np
import scipy  # its submodules load on first use

RESAMPLES = 10_000
BATCH_VALUES = 10_000_000
"""How many resampled values are in memory at a time: 80 MB."""
LEVEL = 0.05
SCORES = range(1, 6)
PSCORE = "PScore"
_ROUNDING = 1e-9
"""A smaller difference of scores is rounding."""


@dataclass(frozen=True)
class ScoreSummary:
    """Mean and population standard deviation over personas, with a 95 % bootstrap interval of the mean.

    `personas` counts those that have a value. Undefined numbers are NaN: all of them without a persona, the interval
    with one.
    """

    mean: float
    std: float
    low: float
    high: float
    personas: int


@dataclass(frozen=True)
class PairedComparison:
    """How much higher one candidate scores than another, over the personas that have a score for both.

    `difference` has a 95 % bootstrap interval. `effect` is Cohen's d_z: the mean of the differences over their sample
    standard deviation. `p` is of a two-sided sign-flip permutation test, `p_holm` is adjusted for the number of tasks,
    and NaN where nothing was adjusted. `significant` uses `p_holm` where there is one.
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
class RankCorrelation:
    """Spearman's rank correlation and its two-sided p-value."""

    rho: float
    p: float


def summarize(values: Sequence[float] | np.ndarray, seed: int) -> ScoreSummary:
    """Summarize one score per persona, NaN where it has none."""
    present = _present(np.asarray(values, float))
    if not len(present):
        return ScoreSummary(np.nan, np.nan, np.nan, np.nan, 0)
    low, high = _interval(present, seed)
    return ScoreSummary(float(present.mean()), float(present.std()), low, high, len(present))


def persona_scores(task_means: np.ndarray) -> np.ndarray:
    """Return the PScore of each persona: the mean of its task scores.

    It is NaN where one is missing. Tasks differ in their level (Toxicity is near 5, Linguistic Habits near 4), so a
    mean over fewer tasks is another number: a missing task would change the score although no answer changed.

    Args:
        task_means: task scores (personas, tasks), NaN where there is none.
    """
    return np.asarray(np.asarray(task_means, float).mean(axis=1))


def compare(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, seed: int) -> PairedComparison:
    """Compare two candidates, persona by persona; the difference is a's score minus b's.

    Args:
        a: one score per persona, NaN where it has none.
        b: likewise, in the same order.
        seed: of the resampling and of the permutations.
    """
    differences = _present(np.asarray(a, float) - np.asarray(b, float))
    differences[np.abs(differences) < _ROUNDING] = 0  # or the test would find a direction in the last bits
    if not len(differences):
        return PairedComparison("", np.nan, np.nan, np.nan, np.nan, np.nan, np.nan, 0, False)
    low, high = _interval(differences, seed)
    p = _sign_flip_p(differences, seed)
    return PairedComparison(
        "", float(differences.mean()), low, high, _effect(differences), p, np.nan, len(differences), p < LEVEL
    )


def compare_all(means_a: np.ndarray, means_b: np.ndarray, tasks: Sequence[str], seed: int) -> list[PairedComparison]:
    """Compare two candidates in each task, Holm-corrected over the tasks, and in the PScore.

    The PScore comes last and is not corrected: it is the one hypothesis that is fixed beforehand.

    Args:
        means_a: task scores (personas, tasks), NaN where there is none.
        means_b: likewise, the same personas in the same order.
        tasks: names of the columns.
        seed: of the resampling and of the permutations.
    """
    unadjusted = [compare(means_a[:, column], means_b[:, column], seed) for column in range(len(tasks))]
    adjusted = holm([result.p for result in unadjusted])
    by_task = [
        replace(result, task=task, p_holm=p, significant=p < LEVEL)
        for result, task, p in zip(unadjusted, tasks, adjusted, strict=True)
    ]
    return [*by_task, replace(compare(persona_scores(means_a), persona_scores(means_b), seed), task=PSCORE)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, by Holm's step-down method; NaN stays NaN and is not counted."""
    p = np.asarray(p_values, float)
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN is sorted last
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1) if len(order) else steps
    return list(map(float, adjusted))


def agreement(values: np.ndarray) -> float | None:
    """Return Krippendorff's alpha of ordinal scores: 1 is perfect agreement, 0 is chance.

    It is None where it is undefined: no item has two scores, or all those scores are equal.

    Args:
        values: scores of 1 to 5 (judges, items), NaN where a judge has none.
    """
    values = np.asarray(values, float)
    # Counts, not the judges' own values, which the package would expand to judges x items x scores.
    counts = np.stack([(values == score).sum(axis=0) for score in SCORES], axis=1)
    assert counts.sum() == (~np.isnan(values)).sum(), "a score is not among 1 to 5"
    counts = counts[counts.sum(axis=1) > 1]
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return None
    return float(krippendorff.alpha(value_counts=counts, value_domain=list(SCORES), level_of_measurement="ordinal"))


def length_correlation(
    lengths: Sequence[float] | np.ndarray, scores: Sequence[float] | np.ndarray
) -> RankCorrelation | None:
    """Correlate length and score; None with fewer than three answers, or where one of the two is constant.

    Args:
        lengths: of the answers, in words.
        scores: of the same answers, NaN where there is none.
    """
    length, score = np.asarray(lengths, float), np.asarray(scores, float)
    present = ~(np.isnan(length) | np.isnan(score))
    length, score = length[present], score[present]
    if len(score) < 3 or np.ptp(length) == 0 or np.ptp(score) == 0:
        return None
    spearman = scipy.stats.spearmanr(length, score)
    return RankCorrelation(float(spearman.statistic), float(spearman.pvalue))


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
        batch=max(1, BATCH_VALUES // len(values)),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _sign_flip_p(differences: np.ndarray, seed: int) -> float:
    """Return the p-value over all sign flips, or over RESAMPLES of them if there are more; NaN for one persona."""
    if len(differences) < 2:
        return np.nan
    tested = scipy.stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH_VALUES // len(differences)),
        rng=np.random.default_rng(seed),
    )
    return float(tested.pvalue)


def _effect(differences: np.ndarray) -> float:
    """Return Cohen's d_z: 0 where nothing differs, NaN where all differ by the same or there is one persona."""
    if len(differences) < 2:
        return np.nan
    spread = float(differences.std(ddof=1))
    if spread < _ROUNDING:
        return 0.0 if np.abs(differences).max() < _ROUNDING else np.nan
    return float(differences.mean()) / spread
