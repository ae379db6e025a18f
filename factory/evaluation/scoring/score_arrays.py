"""What was asked, answered and scored as arrays, and the means over judges and questions.

    items            (questions,)              which persona and task
    per candidate    (questions,)              words of the answer
    per judge        (candidates, questions)   score and expected score, NaN where there is none

Judges differ in height, so a mean over those that happened to score an answer would rise with each
failure of a strict one and fall with each of a mild one. Neither mean here does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from factory.personagym import TASKS

TASK_NAMES = list(TASKS)


@dataclass(frozen=True)
class ScoreArrays:
    """All questions in the order of their shards, and what was answered and judged of them."""

    persona: np.ndarray
    """int32 (questions,): places in the order in which the personas come."""
    task: np.ndarray
    """int8 (questions,): places in `TASK_NAMES`."""
    personas: int
    words: np.ndarray
    """float32 (candidates, questions): of each answer, NaN where there is none."""
    truncated: np.ndarray
    """int64 (candidates,)."""
    scores: np.ndarray
    """float32 (candidates, judges, questions), NaN where there is none."""
    expected: np.ndarray
    """The same shape."""


def persona_task_means(items: ScoreArrays, scores: np.ndarray) -> np.ndarray:
    """The mean score of each persona in each task (personas, tasks); NaN where nothing was scored."""
    there = ~np.isnan(scores)
    place = items.persona.astype(np.int64) * len(TASK_NAMES) + items.task
    size = items.personas * len(TASK_NAMES)
    number = np.bincount(place[there], minlength=size)
    total = np.bincount(place[there], scores[there], minlength=size)
    means = np.divide(total, number, out=np.full(size, np.nan), where=number > 0)
    return np.asarray(means.reshape(items.personas, len(TASK_NAMES)))


def over_judges(items: ScoreArrays, by_judge: np.ndarray) -> np.ndarray:
    """A candidate's scores (judges, questions) to their mean over the judges (questions,).

    A judge's height is its mean score in a task. How far the judges that scored an answer are above or
    below their heights is laid over the mean height of all. Where all scored it, that is their plain mean.
    """
    found = np.full(by_judge.shape[1], np.nan)
    for task in range(len(TASK_NAMES)):
        asked = items.task == task
        told = by_judge[:, asked].astype(float)
        heights = _mean(told, axis=1)
        found[asked] = _mean(told - heights[:, None], axis=0) + _mean(heights[:, None], axis=0)
    return np.round(found, 9)  # scores that are equal stay so to the last bit


def paired_cells(items: ScoreArrays, a: int, b: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The cells of two candidates by each judge, and last by the mean of the judges.

    Questions are paired: of a judge's scores only those count that it gave to the answers of both.
    """
    both = ~np.isnan(items.scores[a]) & ~np.isnan(items.scores[b])
    of_a, of_b = (np.where(both, items.scores[one], np.nan) for one in (a, b))
    for judge in range(len(both)):
        yield persona_task_means(items, of_a[judge]), persona_task_means(items, of_b[judge])
    yield persona_task_means(items, _mean(of_a, axis=0)), persona_task_means(items, _mean(of_b, axis=0))


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what is there; NaN where nothing is."""
    there = ~np.isnan(values)
    number = there.sum(axis=axis)
    total = np.where(there, values, 0).sum(axis=axis)
    return np.asarray(np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0))
