"""Comparisons of candidates: differences per persona, tests of whole families, and ranks.

    family    hypotheses, each adjusted for the others of its family
    PScore    every candidate against the baseline, or all pairs where none is named
    tasks     the five tasks of the same pairs
    ranks     the PScores of all pairs

Differences of single judges have intervals and no test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.evaluation.scoring.intervals import LEVEL, MIN_PERSONAS, ROUNDING, difference_interval
from factory.evaluation.scoring.length import LengthControlled, length_controlled
from factory.evaluation.scoring.multiple_testing import max_t
from factory.evaluation.scoring.pscore import PSCORE, pscore_values
from factory.evaluation.scoring.score_arrays import TASK_NAMES, ScoreArrays, cells_of
from factory.evaluation.scoring.scores_schema import Verdict

MIN_DIFFERING = 6
"""With fewer personas that differ no claim is made: the least p of a sign-flip test is 2^(1 - k)."""
_CHUNK = 1_000
"""Pairs whose verdicts are found at a time."""
OUTCOMES = [*TASK_NAMES, PSCORE]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Judged:
    """What candidates are compared by."""

    arrays: ScoreArrays
    means: np.ndarray
    """(candidates, answers): the mean over the judges."""
    by_judge: np.ndarray
    """(candidates, judges, answers)."""
    bounds: np.ndarray
    """(candidates, 2, tasks + 1): see `score_arrays.score_bounds`."""
    blank: np.ndarray
    """bool (candidates,): has too many unscored answers to be compared."""
    seed: int


@dataclass(frozen=True)
class PairedDifference:
    """How much higher one candidate scores than another, over the personas that have a score for both.

    `difference` has a 95 % interval. `effect` is Cohen's d_z: the mean of the differences over their sample standard
    deviation. `p` is adjusted for the family. `verdict` is `higher` or `lower` only where p is below 0.05, enough
    personas differ, and the sign is the same for any scores of the unscored answers.
    """

    task: str
    difference: float
    low: float
    high: float
    effect: float
    p: float
    personas: int
    verdict: Verdict


@dataclass(frozen=True)
class JudgeDifference:
    """A difference in the PScore by a single judge, with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Two candidates: each task and last the PScore, single judges' PScores, and the PScore at equal length."""

    a: int
    b: int
    results: list[PairedDifference]
    by_judge: list[JudgeDifference]
    length_controlled: LengthControlled | None


@dataclass(frozen=True)
class Rank:
    """A candidate's rank by PScore, with a 95 % interval that holds for all candidates at once.

    The interval goes from 1 + the number of candidates shown to be higher to the number of candidates minus those
    shown to be lower.
    """

    rank: int
    low: int
    high: int


def compare_pairs(judged: Judged, pairs: Sequence[Pair]) -> list[Comparison]:
    """Compare pairs of candidates; the p-values are adjusted for all of these pairs."""
    if not pairs:
        return []
    numbers = np.array(pairs)
    p_values = np.hstack([_adjusted(judged, numbers, TASK_NAMES), _adjusted(judged, numbers, [PSCORE])])
    return [
        Comparison(
            a,
            b,
            _results(judged, (a, b), p_values[place]),
            _judge_differences(judged, a, b),
            _length_controlled(judged, a, b),
        )
        for place, (a, b) in enumerate(pairs)
    ]


def rank_candidates(judged: Judged, pscores: np.ndarray) -> list[Rank | None]:
    """Rank the candidates; None for a blank one, and where there is no PScore.

    Args:
        judged: the scores.
        pscores: the PScore of each candidate, NaN where there is none.
    """
    listed = np.flatnonzero(~judged.blank & ~np.isnan(pscores))
    higher, lower = np.zeros(len(pscores), int), np.zeros(len(pscores), int)
    first, second = np.triu_indices(len(listed), 1)
    pairs = np.stack([listed[first], listed[second]], axis=1)
    p_values = _adjusted(judged, pairs, [PSCORE])[:, 0]
    for chunk in np.array_split(np.flatnonzero(p_values < LEVEL), len(pairs) // _CHUNK + 1):
        values = _values(judged, pairs[chunk], [PSCORE])[:, 0]
        verdicts = _verdicts(judged, pairs[chunk], len(TASK_NAMES), values, p_values[chunk])
        for verdict, winner in (("higher", 0), ("lower", 1)):
            shown = pairs[chunk][verdicts == verdict]
            np.add.at(lower, shown[:, winner], 1)
            np.add.at(higher, shown[:, 1 - winner], 1)
    ranks: list[Rank | None] = [None] * len(pscores)
    for one in listed:
        above = int((pscores[listed] > pscores[one] + ROUNDING).sum())
        ranks[one] = Rank(1 + above, 1 + int(higher[one]), len(listed) - int(lower[one]))
    return ranks


def _values(judged: Judged, pairs: np.ndarray, outcomes: Sequence[str]) -> np.ndarray:
    """Return the differences (pairs, outcomes, personas) over common questions, NaN where a persona has none.

    Args:
        judged: the scores.
        pairs: (pairs, 2).
        outcomes: all tasks and the PScore, or the tasks, or the PScore.
    """
    cells = cells_of(judged.arrays, judged.means[pairs[:, 0]] - judged.means[pairs[:, 1]])
    cells[np.abs(cells) < ROUNDING] = 0  # or a test would find a direction in the last bits
    tasks = [cells.swapaxes(1, 2)] if TASK_NAMES[0] in outcomes else []
    return np.concatenate([*tasks, *([pscore_values(cells)[:, None]] if PSCORE in outcomes else [])], axis=1)


def _adjusted(judged: Judged, pairs: np.ndarray, outcomes: Sequence[str]) -> np.ndarray:
    """Return the adjusted p-values (pairs, outcomes) of the family of these outcomes; 1 for blank candidates."""
    is_listed = ~judged.blank[pairs].any(axis=1)
    listed, size = pairs[is_listed], len(outcomes)

    def values_of(numbers: np.ndarray) -> np.ndarray:
        wanted, place = np.unique(numbers // size, return_inverse=True)
        return np.asarray(_values(judged, listed[wanted], outcomes)[place, numbers % size])

    p_values = np.ones((len(pairs), size))
    found = max_t(values_of, len(listed) * size, judged.arrays.personas, judged.seed)
    p_values[is_listed] = found.reshape(-1, size)
    return p_values


def _verdicts(
    judged: Judged, pairs: np.ndarray, outcomes: int | np.ndarray, values: np.ndarray, p_values: np.ndarray
) -> np.ndarray:
    """Return the verdicts of hypotheses, given by their pair, the number of their outcome, values and p-value."""
    present = ~np.isnan(values)
    personas = present.sum(axis=1)
    differing = (present & (np.abs(values) > ROUNDING)).sum(axis=1)
    bounds_a, bounds_b = judged.bounds[pairs[:, 0], :, outcomes], judged.bounds[pairs[:, 1], :, outcomes]
    total = np.where(present, values, 0).sum(axis=1)
    conditions: dict[Verdict, np.ndarray] = {
        "blank": judged.blank[pairs].any(axis=1),
        "too_few": (personas < MIN_PERSONAS) | (differing < MIN_DIFFERING),
        "no_difference_shown": p_values >= LEVEL,
        "higher": (total > 0) & (bounds_a[:, 0] > bounds_b[:, 1]),
        "lower": (total < 0) & (bounds_a[:, 1] < bounds_b[:, 0]),
    }
    return np.select(list(conditions.values()), list(conditions), "depends_on_unscored")


def _results(judged: Judged, pair: Pair, p_values: np.ndarray) -> list[PairedDifference]:
    values = _values(judged, np.array([pair]), OUTCOMES)[0]
    pairs, outcomes = np.array([pair] * len(values)), np.arange(len(values))
    verdicts = _verdicts(judged, pairs, outcomes, values, p_values)
    results = []
    for outcome, one, p, verdict in zip(OUTCOMES, values, p_values, verdicts.tolist(), strict=True):
        low, high = difference_interval(one, judged.seed)
        present = one[~np.isnan(one)]
        results.append(
            PairedDifference(
                task=outcome,
                difference=float(present.mean()) if len(present) else np.nan,
                low=low,
                high=high,
                effect=_effect(present),
                p=float(p) if len(present) > 1 and verdict != "blank" else np.nan,
                personas=len(present),
                verdict=verdict,
            )
        )
    return results


def _judge_differences(judged: Judged, a: int, b: int) -> list[JudgeDifference]:
    """Return each judge's difference in the PScore, over the questions that it scored for both."""
    cells = cells_of(judged.arrays, judged.by_judge[a].astype(float) - judged.by_judge[b])
    found = []
    for values in pscore_values(cells):
        present = values[~np.isnan(values)]
        mean = float(present.mean()) if len(present) else np.nan
        found.append(JudgeDifference(mean, *difference_interval(values, judged.seed)))
    return found


def _length_controlled(judged: Judged, a: int, b: int) -> LengthControlled | None:
    words = np.maximum(judged.arrays.words, 1)
    log_ratio = np.log(words[a]) - np.log(words[b])
    return length_controlled(judged.means[a] - judged.means[b], log_ratio, judged.arrays.persona, judged.arrays.task)


def _effect(differences: np.ndarray) -> float:
    """Return Cohen's d_z: 0 where nothing differs, NaN where all differ by the same or there is one persona."""
    if len(differences) < 2:
        return np.nan
    spread = float(differences.std(ddof=1))
    if spread < ROUNDING:
        return 0.0 if np.abs(differences).max() < ROUNDING else np.nan
    return float(differences.mean()) / spread
