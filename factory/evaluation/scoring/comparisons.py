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
OUTCOMES = [*TASK_NAMES, PSCORE]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Judged:
    """What candidates are compared by."""

    arrays: ScoreArrays
    means: np.ndarray
    """(candidates, questions): the mean over the judges."""
    by_judge: np.ndarray
    """(candidates, judges, questions)."""
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
    p_tasks, p_pscore = _adjusted(judged, numbers, range(len(TASK_NAMES))), _adjusted(judged, numbers, [-1])
    return [
        Comparison(
            a,
            b,
            _results(judged, (a, b), [*p_tasks[place], p_pscore[place, 0]]),
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
    for numbers, p in zip(*_split(pairs, _adjusted(judged, pairs, [-1])[:, 0]), strict=True):
        signs = _claims(judged, numbers, p)
        np.add.at(higher, np.where(signs < 0, numbers[:, 0], numbers[:, 1]), signs != 0)
        np.add.at(lower, np.where(signs > 0, numbers[:, 0], numbers[:, 1]), signs != 0)
    ranks: list[Rank | None] = [None] * len(pscores)
    for one in listed:
        above = int((pscores[listed] > pscores[one] + ROUNDING).sum())
        ranks[one] = Rank(1 + above, 1 + int(higher[one]), len(listed) - int(lower[one]))
    return ranks


def _split(pairs: np.ndarray, p_values: np.ndarray, size: int = 1_000) -> tuple[list[np.ndarray], list[np.ndarray]]:
    starts = range(0, len(pairs), size)
    return [pairs[at : at + size] for at in starts], [p_values[at : at + size] for at in starts]


def _values(judged: Judged, pairs: np.ndarray) -> np.ndarray:
    """Return the differences (pairs, outcomes, personas) over common questions, NaN where a persona has none."""
    cells = cells_of(judged.arrays, judged.means[pairs[:, 0]] - judged.means[pairs[:, 1]])
    cells[np.abs(cells) < ROUNDING] = 0  # or a test would find a direction in the last bits
    return np.concatenate([cells.swapaxes(1, 2), pscore_values(cells)[:, None]], axis=1)


def _adjusted(judged: Judged, pairs: np.ndarray, outcomes: Sequence[int]) -> np.ndarray:
    """Return the adjusted p-values (pairs, outcomes) of the family of these outcomes; 1 for blank candidates."""
    listed = pairs[~judged.blank[pairs].any(axis=1)]
    chosen = np.array(outcomes)

    def values_of(numbers: np.ndarray) -> np.ndarray:
        wanted, place = np.unique(numbers // len(chosen), return_inverse=True)
        return np.asarray(_values(judged, listed[wanted])[place, chosen[numbers % len(chosen)]])

    p_values = np.ones((len(pairs), len(chosen)))
    found = max_t(values_of, len(listed) * len(chosen), judged.arrays.personas, judged.seed)
    p_values[~judged.blank[pairs].any(axis=1)] = found.reshape(-1, len(chosen))
    return p_values


def _claims(judged: Judged, pairs: np.ndarray, p_values: np.ndarray) -> np.ndarray:
    """Return 1 where a's PScore is shown to be higher, -1 where b's is, else 0."""
    values = _values(judged, pairs)[:, -1]
    verdicts = [
        _verdict(judged, (a, b), -1, one, p) for (a, b), one, p in zip(pairs.tolist(), values, p_values, strict=True)
    ]
    return np.array([{"higher": 1, "lower": -1}.get(verdict, 0) for verdict in verdicts])


def _verdict(judged: Judged, pair: Pair, outcome: int, values: np.ndarray, p: float) -> Verdict:
    a, b = pair
    if judged.blank[a] or judged.blank[b]:
        return "blank"
    present = values[~np.isnan(values)]
    if len(present) < MIN_PERSONAS or np.count_nonzero(np.abs(present) > ROUNDING) < MIN_DIFFERING:
        return "too_few"
    if p >= LEVEL:
        return "no_difference_shown"
    (low_a, high_a), (low_b, high_b) = judged.bounds[a, :, outcome], judged.bounds[b, :, outcome]
    if present.mean() > 0:
        return "higher" if low_a > high_b else "depends_on_unscored"
    return "lower" if high_a < low_b else "depends_on_unscored"


def _results(judged: Judged, pair: Pair, p_values: Sequence[float]) -> list[PairedDifference]:
    results = []
    for outcome, (values, p) in enumerate(zip(_values(judged, np.array([pair]))[0], p_values, strict=True)):
        low, high = difference_interval(values, judged.seed)
        present = values[~np.isnan(values)]
        results.append(
            PairedDifference(
                task=OUTCOMES[outcome],
                difference=float(present.mean()) if len(present) else np.nan,
                low=low,
                high=high,
                effect=_effect(present),
                p=float(p) if len(present) > 1 and not judged.blank[list(pair)].any() else np.nan,
                personas=len(present),
                verdict=_verdict(judged, pair, outcome, values, p),
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
