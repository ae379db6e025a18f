"""Scores as arrays, and the means over judges and questions.

    arrays           (questions,)              persona and task of each question
    per candidate    (questions,)              words of the answer
    per judge        (candidates, questions)   score and expected score, NaN where there is none

Judges differ in leniency. A mean over only those judges that scored an answer would rise with each failure of a
strict judge and fall with each failure of a lenient one. Neither mean here does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from factory.personagym import TASKS

TASK_NAMES = list(TASKS)


@dataclass(frozen=True)
class ScoreArrays:
    """All questions in the order of their shards, with the answers' lengths and their scores."""

    persona: np.ndarray
    """int32 (questions,): number of the persona, in the order in which personas occur."""
    task: np.ndarray
    """int8 (questions,): index in `TASK_NAMES`."""
    personas: int
    words: np.ndarray
    """float32 (candidates, questions): words of each answer, NaN where there is none."""
    truncated: np.ndarray
    """int64 (candidates,)."""
    scores: np.ndarray
    """float32 (candidates, judges, questions), NaN where there is none."""
    expected: np.ndarray
    """Expected scores, in the same shape."""


def persona_task_means(arrays: ScoreArrays, scores: np.ndarray) -> np.ndarray:
    """Return the mean score of each persona in each task (personas, tasks); NaN where nothing was scored."""
    scored = ~np.isnan(scores)
    cell = arrays.persona.astype(np.int64) * len(TASK_NAMES) + arrays.task
    size = arrays.personas * len(TASK_NAMES)
    count = np.bincount(cell[scored], minlength=size)
    total = np.bincount(cell[scored], scores[scored], minlength=size)
    means = np.divide(total, count, out=np.full(size, np.nan), where=count > 0)
    return np.asarray(means.reshape(arrays.personas, len(TASK_NAMES)))


def mean_over_judges(arrays: ScoreArrays, by_judge: np.ndarray) -> np.ndarray:
    """Average a candidate's scores (judges, questions) over the judges; returns (questions,).

    Scores are centered on each judge's mean score in the task before averaging, and the mean of these task means is
    added back. A missing score then does not bias the result. Where all judges scored, it is their plain mean.
    """
    means = np.full(by_judge.shape[1], np.nan)
    for task in range(len(TASK_NAMES)):
        in_task = arrays.task == task
        scores = by_judge[:, in_task].astype(float)
        leniency = _mean(scores, axis=1)
        means[in_task] = _mean(scores - leniency[:, None], axis=0) + _mean(leniency[:, None], axis=0)
    return np.round(means, 9)  # equal scores stay equal to the last bit


def paired_task_means(arrays: ScoreArrays, a: int, b: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the task means of two candidates by each judge, and last by the mean of the judges.

    Questions are paired: a judge's score counts only where that judge scored the answers of both.
    """
    both = ~np.isnan(arrays.scores[a]) & ~np.isnan(arrays.scores[b])
    scores_a, scores_b = (np.where(both, arrays.scores[number], np.nan) for number in (a, b))
    for judge in range(len(both)):
        yield persona_task_means(arrays, scores_a[judge]), persona_task_means(arrays, scores_b[judge])
    yield persona_task_means(arrays, _mean(scores_a, axis=0)), persona_task_means(arrays, _mean(scores_b, axis=0))


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean without NaN; NaN where there is no value."""
    present = ~np.isnan(values)
    count = present.sum(axis=axis)
    total = np.where(present, values, 0).sum(axis=axis)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))
