"""What an evaluation can find: the smallest true difference of two PScores that it finds in 80 % of all cases."""

import dataclasses
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
    that more questions can remove. `draws` is NaN for one answer per question, and `judges` for one judge.
    """

    total: float
    questions: float
    draws: float
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
        by_judge: differences by each judge (judges, answers), NaN where there is none.
        means: differences by the mean of the judges (answers,).
    """
    cells = cells_of(arrays, means)
    values = pscore_values(cells)
    present = values[~np.isnan(values)]
    total = float(present.var(ddof=1)) if len(present) > 1 else np.nan
    questions = questions_per_task(arrays)
    place = arrays.persona.astype(np.int64) * TASKS + arrays.task
    of_questions = _mean_draws(means, arrays.draws), place[:: arrays.draws]
    within = _within(*of_questions) / questions if questions > 1 else _interaction(cells)
    draws = _within(means, np.arange(len(means)) // arrays.draws) / (arrays.draws * questions)
    judges = _between_judges(arrays, by_judge) / (len(by_judge) * questions * arrays.draws)
    return Spread(total, *(float(np.minimum(part / TASKS, total)) for part in (within, draws, judges)))


def questions_per_task(arrays: ScoreArrays) -> float:
    """Return the mean number of questions of a persona in a task."""
    places = np.unique(arrays.persona.astype(np.int64) * TASKS + arrays.task)
    return len(arrays.task) / arrays.draws / len(places)


def _mean_draws(values: np.ndarray, draws: int) -> np.ndarray:
    """Return the mean over the answers to each question that have a value; NaN where none has."""
    by_question = values.reshape(-1, draws)
    count = (~np.isnan(by_question)).sum(axis=1)
    return np.where(count, np.nansum(by_question, axis=1) / np.maximum(count, 1), np.nan)


def _within(values: np.ndarray, place: np.ndarray) -> float:
    """Return the variance of values within a place, such as of questions within a persona's task."""
    present = ~np.isnan(values)
    place, values = place[present], values[present]
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

    `questions` and `draws` are measured where there are several, else the least that they can be. `judges` is NaN for
    one judge.
    """

    difference: float
    personas: float
    questions: float
    questions_measured: bool
    draws: float
    draws_measured: bool
    judges: float


def expected_findable(personas: int, questions: int, draws: int, judges: int, comparisons: int) -> DetectableDifference:
    """Return what an evaluation can find by the typical spread, before anything is measured.

    Args:
        personas: number of personas.
        questions: number per task.
        draws: answers per question.
        judges: number of judges.
        comparisons: number of comparisons in the family.
    """

    def find(people: int = personas, asked: int = questions, drawn: int = draws, judging: int = judges) -> float:
        return smallest_difference(TYPICAL.variance(asked, drawn, judging), people, comparisons)

    return DetectableDifference(
        difference=find(),
        personas=find(people=2 * personas),
        questions=find(asked=2 * questions),
        questions_measured=True,
        draws=find(drawn=2 * draws),
        draws_measured=True,
        judges=find(judging=2 * judges),
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
    mean = Spread(*np.mean([dataclasses.astuple(one) for one in spreads], axis=0).tolist())

    def find(removed: float = 0, personas: int = arrays.personas) -> float:
        return smallest_difference(mean.total - removed, personas, len(pairs))

    draws_measured = arrays.draws > 1
    return DetectableDifference(
        difference=find(),
        personas=find(personas=2 * arrays.personas),
        questions=find(mean.questions / 2),
        questions_measured=questions_per_task(arrays) > 1,
        draws=find((mean.draws if draws_measured else mean.questions) / 2),
        draws_measured=draws_measured,
        judges=find(mean.judges / 2),
    )
