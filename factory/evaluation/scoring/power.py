"""What an evaluation can find: the smallest true difference of two PScores that it finds in 80 % of all cases."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.evaluation.scoring.comparisons import Judged
from factory.evaluation.scoring.intervals import LEVEL, t_quantile
from factory.evaluation.scoring.pscore import pscore_values
from factory.evaluation.scoring.score_arrays import ScoreArrays, cells_of

POWER = 0.8
MAX_PAIRS = 100
"""Pairs whose spread is measured."""


@dataclass(frozen=True)
class Spread:
    """The variance over personas of a paired difference in the PScore, and the parts of it that twice as much halves.

    Where there is one question per task, `questions` includes what a persona's tasks differ by, so it is the most
    that more questions can remove. `judges` is NaN for one judge.
    """

    total: float
    questions: float
    judges: float


@dataclass(frozen=True)
class Components:
    """Variances of a paired difference: between personas, and within them between questions, answers and judgments."""

    personas: float
    questions: float
    draws: float
    judges: float

    def variance(self, questions: int, draws: int, judges: int) -> float:
        """Return the variance over personas of a difference in the PScore.

        Args:
            questions: number per task.
            draws: answers per question.
            judges: number of judges.
        """
        per_question = self.questions + (self.draws + self.judges / judges) / draws
        return self.personas + per_question / questions / TASKS


TASKS = 5
TYPICAL = Components(personas=0.014, questions=0.0, draws=0.16, judges=0.22)
"""Of simulated scores with the means and deviations of the paper's Light table: a guess before anything is measured."""


def smallest_difference(variance: float, personas: int, comparisons: int = 1) -> float:
    """Return the smallest PScore difference that is found with a power of 80 %; NaN for one persona.

    Args:
        variance: over personas, of the difference of two candidates.
        personas: number of personas.
        comparisons: number of comparisons in the family.
    """
    quantiles = t_quantile(1 - LEVEL / 2 / max(1, comparisons), personas - 1) + t_quantile(POWER, personas - 1)
    return float(quantiles * np.sqrt(max(variance, 0) / max(personas, 1)))


def measure_spread(arrays: ScoreArrays, by_judge: np.ndarray, means: np.ndarray) -> Spread:
    """Measure the spread of the difference of two candidates.

    Args:
        arrays: they have the persona and task of each question.
        by_judge: differences by each judge (judges, questions), NaN where there is none.
        means: differences by the mean of the judges (questions,).
    """
    cells = cells_of(arrays, means)
    values = pscore_values(cells)
    present = values[~np.isnan(values)]
    total = float(present.var(ddof=1)) if len(present) > 1 else np.nan
    questions = questions_per_task(arrays)
    within = _within(arrays, means) / questions if questions > 1 else _interaction(cells)
    judges = _between_judges(arrays, by_judge) / (len(by_judge) * questions)
    return Spread(total, float(np.minimum(within / TASKS, total)), float(np.minimum(judges / TASKS, total)))


def questions_per_task(arrays: ScoreArrays) -> float:
    """Return the mean number of questions of a persona in a task."""
    return len(arrays.task) / len(np.unique(arrays.persona.astype(np.int64) * TASKS + arrays.task))


def _within(arrays: ScoreArrays, values: np.ndarray) -> float:
    """Return the variance of questions within a persona's task."""
    present = ~np.isnan(values)
    place, values = (arrays.persona.astype(np.int64) * TASKS + arrays.task)[present], values[present]
    count = np.bincount(place)
    means = np.bincount(place, values) / np.maximum(count, 1)
    degrees = np.maximum(count - 1, 0).sum()
    return float(((values - means[place]) ** 2).sum() / degrees) if degrees else np.nan


def _interaction(cells: np.ndarray) -> float:
    """Return the variance of tasks within a persona, after the tasks' means are removed; over complete personas."""
    complete = cells[~np.isnan(cells).any(axis=1)]
    if len(complete) < 2:
        return np.nan
    rest = complete - complete.mean(axis=0)
    rest -= rest.mean(axis=1, keepdims=True)
    return float((rest**2).sum() / ((len(complete) - 1) * (cells.shape[1] - 1)))


def _between_judges(arrays: ScoreArrays, by_judge: np.ndarray) -> float:
    """Return the variance of judges within a question, after each judge's mean in the task is removed."""
    complete = ~np.isnan(by_judge).any(axis=0)
    if len(by_judge) < 2 or np.count_nonzero(complete) < 2:
        return np.nan
    values, task = by_judge[:, complete].astype(float), arrays.task[complete]
    rest = values - values.mean(axis=0)
    for number in np.unique(task):
        rest[:, task == number] -= rest[:, task == number].mean(axis=1, keepdims=True)
    degrees = (len(by_judge) - 1) * (rest.shape[1] - len(np.unique(task)))
    return float((rest**2).sum() / degrees) if degrees > 0 else np.nan


@dataclass(frozen=True)
class DetectableDifference:
    """The smallest difference that is found with a power of 80 %, now and with twice as much of something.

    `questions` is measured where there are several per task, else the least that it can be; `draws` always is the
    latter. `judges` is NaN for one judge.
    """

    difference: float
    personas: float
    questions: float
    questions_measured: bool
    draws: float
    judges: float


def expected_findable(personas: int, questions: int, judges: int, comparisons: int) -> DetectableDifference:
    """Return what an evaluation can find by the typical spread, before anything is measured.

    Args:
        personas: number of personas.
        questions: number per task.
        judges: number of judges.
        comparisons: number of comparisons in the family.
    """

    def find(people: int, asked: int, draws: int, judging: int) -> float:
        return smallest_difference(TYPICAL.variance(asked, draws, judging), people, comparisons)

    return DetectableDifference(
        difference=find(personas, questions, 1, judges),
        personas=find(2 * personas, questions, 1, judges),
        questions=find(personas, 2 * questions, 1, judges),
        questions_measured=True,
        draws=find(personas, questions, 2, judges),
        judges=find(personas, questions, 1, 2 * judges),
    )


def findable_difference(judged: Judged, pairs: Sequence[tuple[int, int]]) -> DetectableDifference | None:
    """Return what an evaluation can find, by the mean spread of its pairs; None without a pair.

    Args:
        judged: the scores.
        pairs: the family of comparisons; of a large one the first are measured.
    """
    arrays = judged.arrays
    spreads = []
    for a, b in [pair for pair in pairs if not judged.blank[list(pair)].any()][:MAX_PAIRS]:
        by_judge = judged.by_judge[a][arrays.judges] - judged.by_judge[b][arrays.judges]
        spreads.append(measure_spread(arrays, by_judge, judged.means[a] - judged.means[b]))
    if not spreads:
        return None
    total, questions, judges = (
        float(np.mean([getattr(one, part) for one in spreads])) for part in ("total", "questions", "judges")
    )
    count = len(pairs)
    fewer_questions = smallest_difference(total - questions / 2, arrays.personas, count)
    return DetectableDifference(
        difference=smallest_difference(total, arrays.personas, count),
        personas=smallest_difference(total, 2 * arrays.personas, count),
        questions=fewer_questions,
        questions_measured=questions_per_task(arrays) > 1,
        draws=fewer_questions,
        judges=smallest_difference(total - judges / 2, arrays.personas, count),
    )
