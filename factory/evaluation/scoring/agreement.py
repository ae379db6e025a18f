"""Agreement of judges in one task: Krippendorff's alpha, and whether they order candidates alike."""

from dataclasses import dataclass

import numpy as np

from factory.evaluation.scoring.intervals import LEVEL

SCORES = range(1, 6)
RESAMPLES = 1_000
MIN_OFF_MODE = 20
"""Alpha is blank with fewer answers off the most frequent score: a rule of thumb, since it then depends on a few."""


@dataclass(frozen=True)
class Agreement:
    """Agreement in a task, with 95 % intervals over resampled personas; NaN where undefined.

    `alpha` is Krippendorff's ordinal alpha: 1 is perfect, 0 is chance. Near the ceiling it is low though judges agree.
    `same_order` is over the pairs of candidates on one question that both of two judges tell apart: the share that
    both order alike, of `pairs`.
    """

    alpha: float
    alpha_low: float
    alpha_high: float
    same_order: float
    same_order_low: float
    same_order_high: float
    pairs: int


def agreement(scores: np.ndarray, persona: np.ndarray, personas: int, seed: int) -> Agreement:
    """Measure the agreement of judges on the answers of one task.

    Args:
        scores: scores of 1 to 5 (candidates, judges, answers), NaN where there is none.
        persona: number of the persona of each question.
        personas: their number.
        seed: of the resampling.
    """
    tables, orders = np.zeros((personas, 25)), np.zeros((personas, 2))
    off_mode = 0
    chosen = np.zeros(len(SCORES))
    for candidate in scores:  # one after the other: memory does not grow with the candidates
        counts = np.stack([(candidate == score).sum(axis=0) for score in SCORES], axis=1)
        assert counts.sum() == (~np.isnan(candidate)).sum(), "a score is not among 1 to 5"
        np.add.at(tables, persona, _coincidences(counts))
        chosen += counts.sum(axis=0)
    for first in range(scores.shape[1]):
        for second in range(first):
            np.add.at(orders, persona, _ordered_alike(scores[:, first], scores[:, second]))
    off_mode = int(chosen.sum() - chosen.max(initial=0))
    weights = np.random.default_rng(seed).multinomial(personas, np.full(personas, 1 / personas), RESAMPLES)
    alpha, alphas = alpha_of(tables.sum(axis=0)[None])[0], alpha_of(weights @ tables)
    if off_mode < MIN_OFF_MODE:
        alpha, alphas = np.nan, alphas[:0]
    same, pairs = orders.sum(axis=0)
    resampled = weights @ orders
    shares = np.divide(resampled[:, 0], resampled[:, 1], out=np.full(len(resampled), np.nan), where=resampled[:, 1] > 0)
    return Agreement(
        float(alpha), *_quantiles(alphas), float(same / pairs) if pairs else np.nan, *_quantiles(shares), int(pairs)
    )


def alpha_of(tables: np.ndarray) -> np.ndarray:
    """Return Krippendorff's ordinal alpha of tables of coincidences (tables, 25); NaN where all scores are equal."""
    table = tables.reshape(-1, 5, 5)
    count = table.sum(axis=2)
    place = np.cumsum(count, axis=1) - count / 2
    distance = (place[:, :, None] - place[:, None, :]) ** 2
    observed = (table * distance).sum(axis=(1, 2))
    expected = (count[:, :, None] * count[:, None, :] * distance).sum(axis=(1, 2))
    ratio = np.divide(observed, expected, out=np.full(len(table), np.nan), where=expected > 0)
    return np.asarray(1 - (count.sum(axis=1) - 1) * ratio)


def _coincidences(counts: np.ndarray) -> np.ndarray:
    """Return the coincidences of scores (items, 25) by the number of judges per score (items, 5)."""
    judges = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - np.eye(5, dtype=int) * counts[:, :, None]
    weight = np.divide(1, judges - 1, out=np.zeros(len(judges)), where=judges > 1)
    return np.asarray((pairs * weight[:, None, None]).reshape(-1, 25))


def _ordered_alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return per question how many pairs of candidates two judges order alike, and how many both tell apart.

    Args:
        first: scores by one judge (candidates, answers).
        second: scores by the other.
    """
    joint = np.zeros((first.shape[1], 5, 5), np.int64)
    both = ~(np.isnan(first) | np.isnan(second))
    _, question = np.nonzero(both)
    np.add.at(joint, (question, first[both].astype(int) - 1, second[both].astype(int) - 1), 1)
    alike, other = np.zeros(len(joint)), np.zeros(len(joint))
    for row in range(5):
        for column in range(5):
            alike += joint[:, row, column] * joint[:, row + 1 :, column + 1 :].sum(axis=(1, 2))
            other += joint[:, row, column] * joint[:, row + 1 :, :column].sum(axis=(1, 2))
    return np.stack([alike, alike + other], axis=1)


def _quantiles(values: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of resampled values; NaN where too many of them are undefined."""
    defined = values[~np.isnan(values)]
    if not len(values) or len(defined) < 0.95 * len(values):
        return np.nan, np.nan
    low, high = np.quantile(defined, [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)
