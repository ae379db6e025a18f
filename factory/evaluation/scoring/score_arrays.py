"""Scores as arrays, and their means per persona and task.

arrays           (answers,)              persona and task of each answer to a question, `draws` to each in turn
per candidate    (answers,)              words of the answer
per judge        (candidates, answers)   score and expected score, NaN where there is none
cells            (personas, tasks)       mean over a persona's answers of a task, NaN where nothing was scored
"""

from dataclasses import dataclass

import numpy as np

from factory.evaluation.scoring.intervals import SCALE
from factory.evaluation.scoring.pscore import task_means
from factory.personagym import TASKS

TASK_NAMES = list(TASKS)
MIN_EXPECTED_SHARE = 0.98
"""Candidates are ranked by expected scores where each judge gave them for this share of its scores of each candidate;
the others count as they are."""


@dataclass(frozen=True)
class ScoreArrays:
    """All answers in the order of their shards, with their lengths and scores."""

    persona: np.ndarray
    """int32 (answers,): number of the persona, in the order in which personas occur."""
    task: np.ndarray
    """int8 (answers,): index in `TASK_NAMES`."""
    personas: int
    words: np.ndarray
    """float32 (candidates, answers): words of each answer, NaN where there is none."""
    truncated: np.ndarray
    """int64 (candidates,)."""
    scores: np.ndarray
    """float32 (candidates, judges, answers), NaN where there is none."""
    expected: np.ndarray
    """Expected scores, in the same shape."""
    re_asked: np.ndarray
    """int64 (judges,): judgments that took more than one attempt."""
    draws: int = 1
    """Answers per question, which follow each other."""
    persona_ids: tuple[str, ...] = ()
    """By number of the persona."""

    @property
    def has_expected(self) -> bool:
        """Whether all judges gave expected scores for all candidates, but for a few."""
        scored = (~np.isnan(self.scores)).sum(axis=2)
        expected = (~np.isnan(self.scores) & ~np.isnan(self.expected)).sum(axis=2)
        return bool(scored.any() and (expected >= MIN_EXPECTED_SHARE * scored).all())

    @property
    def ranked(self) -> np.ndarray:
        """The scores that candidates are ranked by: expected ones where there are enough, else whole ones."""
        return np.where(np.isnan(self.expected), self.scores, self.expected) if self.has_expected else self.scores

    @property
    def judges(self) -> np.ndarray:
        """Bool (judges,): those that gave any score."""
        return np.asarray((~np.isnan(self.scores)).any(axis=(0, 2)))


def cells_of(arrays: ScoreArrays, scores: np.ndarray) -> np.ndarray:
    """Return the mean score of each persona in each task (..., personas, tasks).

    Args:
        arrays: they have the persona and task of each answer.
        scores: (..., answers), NaN where there is none.
    """
    place = arrays.task.astype(np.int64) * arrays.personas + arrays.persona
    order = np.argsort(place, kind="stable")
    places, starts = np.unique(place[order], return_index=True)
    values = scores[..., order]
    if len(places) < len(order):
        present = ~np.isnan(values)
        count = np.add.reduceat(present, starts, axis=-1, dtype=np.int64)
        total = np.add.reduceat(np.where(present, values, 0), starts, axis=-1, dtype=float)
        values = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    cells = np.full((*scores.shape[:-1], arrays.personas * len(TASK_NAMES)), np.nan)
    cells[..., places] = values
    # By task in memory: sums over personas are then several times as fast.
    return cells.reshape(*scores.shape[:-1], len(TASK_NAMES), arrays.personas).swapaxes(-1, -2)


def score_bounds(arrays: ScoreArrays, scores: np.ndarray) -> np.ndarray:
    """Return the least and the greatest mean of each task and of the PScore, were all answers scored.

    Each missing score counts as 1 or as 5. No estimator repairs failures that hit the worst answers first.

    Args:
        arrays: they have the persona and task of each answer.
        scores: of one candidate (judges, answers), without judges that gave no score to anyone.

    Returns:
        (2, tasks + 1), the PScore last.
    """
    means = []
    for end in SCALE:
        filled = np.where(np.isnan(scores), end, scores).mean(axis=0)
        tasks = task_means(cells_of(arrays, filled))
        means.append([*tasks, tasks.mean()])
    return np.array(means)
