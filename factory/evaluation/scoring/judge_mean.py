"""The mean over judges of different leniency, some of which fail."""

import numpy as np


def mean_over_judges(scores: np.ndarray, task: np.ndarray) -> np.ndarray:
    """Average scores over judges, by the additive model: a score is the answer's level plus the judge's leniency.

    Per task, leniency is estimated by least squares over the answers of all candidates with at least two scores; a
    missing score is filled by the model. Where all judges scored, it is the plain mean. Random failures cause no bias.
    Where a strict judge fails on the worst tenth of the answers, .05 of it remains with two judges, so much missing
    is marked or left blank elsewhere.

    Args:
        scores: (candidates, judges, answers), NaN where there is none.
        task: (answers,), the number of each question's task.

    Returns:
        (candidates, answers), NaN where no judge scored.
    """
    means = np.full((scores.shape[0], scores.shape[2]), np.nan)
    for number in np.unique(task):
        in_task = task == number
        by_judge = scores[:, :, in_task].swapaxes(0, 1)
        level = _levels(by_judge.reshape(len(by_judge), -1).astype(float))
        means[:, in_task] = level.reshape(len(scores), -1)
    return np.round(means, 9)  # equal scores stay equal to the last bit


def _levels(scores: np.ndarray) -> np.ndarray:
    """Return the level of each answer by its scores (judges, answers)."""
    present = ~np.isnan(scores)
    count, total = present.sum(axis=0), np.where(present, scores, 0).sum(axis=0)
    plain = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    if present.all():
        return np.asarray(plain)
    several = count > 1
    there = present[:, several].astype(float)
    # Normal equations after the answers' levels are removed; least squares of least norm sums to 0 over the judges.
    normal = np.diag(there.sum(axis=1)) - (there / count[several]) @ there.T
    right = np.where(present, scores - plain, 0)[:, several].sum(axis=1)
    leniency = np.linalg.lstsq(normal, right, rcond=None)[0]
    shift = np.divide(leniency @ present, count, out=np.zeros(count.shape), where=count > 0)
    return np.asarray(plain - shift)
