"""Scores of simulated candidates and judges, with the means and deviations of the paper's Light table.

A score is 1 + the number of cuts below a normal level. The level is a sum of parts: of the persona, the persona's
task, the question, the candidate with the persona, the answer and the judgment.
"""

from functools import cache

import numpy as np
from scipy import optimize, special

from factory.evaluation.scoring.paper_scores import published
from factory.evaluation.scoring.score_arrays import TASK_NAMES, ScoreArrays

MODEL = "instruct: opencharacter"
PARTS = {"persona": 0.1, "persona_task": 0.1, "question": 0.2, "candidate": 0.05, "answer": 0.35, "judgment": 0.2}
"""Shares of the variance of a level."""


def distribution(mean: float, std: float) -> np.ndarray:
    """Return probabilities of the scores 1 to 5, of the form exp(a k + b k^2), with a mean and a deviation."""
    scores = np.arange(1, 6)

    def moments(parameters: np.ndarray) -> np.ndarray:
        p = special.softmax(parameters[0] * scores + parameters[1] * scores**2)
        return np.array([p @ scores - mean, np.sqrt(p @ scores**2 - (p @ scores) ** 2) - std])

    found = optimize.least_squares(moments, [1.0, 0.1], xtol=1e-12, ftol=1e-12)
    return np.asarray(special.softmax(found.x[0] * scores + found.x[1] * scores**2))


@cache
def cuts() -> np.ndarray:
    """Return the cuts of each task (tasks, 4)."""
    (row,) = (row for row in published("light") if row.model == MODEL)
    shares = [np.cumsum(distribution(*row.scores[task]))[:4] for task in TASK_NAMES]
    return special.ndtri(np.clip(shares, 1e-9, 1 - 1e-9))


def true_means(shift: float = 0) -> np.ndarray:
    """Return the mean of each task over all personas, of a candidate whose levels are higher by `shift`."""
    return np.asarray(1 + special.ndtr(shift - cuts()).sum(axis=1))


def draw_scores(
    generator: np.random.Generator,
    personas: int,
    shifts: tuple[float, ...] = (0,),
    questions: int = 1,
    judges: int = 1,
    draws: int = 1,
) -> np.ndarray:
    """Draw scores (candidates, judges, personas, tasks, answers); candidates differ by `shifts` of their levels.

    The draws of a question follow each other.
    """
    tasks, candidates = len(TASK_NAMES), len(shifts)
    shapes = {
        "persona": (1, 1, personas, 1, 1),
        "persona_task": (1, 1, personas, tasks, 1),
        "question": (1, 1, personas, tasks, questions),
        "candidate": (candidates, 1, personas, 1, 1),
        "answer": (candidates, 1, personas, tasks, questions * draws),
        "judgment": (candidates, judges, personas, tasks, questions * draws),
    }
    parts = {part: np.sqrt(PARTS[part]) * generator.standard_normal(shape) for part, shape in shapes.items()}
    parts["question"] = np.repeat(parts["question"], draws, axis=-1)
    level = sum(parts.values())
    level = level + np.array(shifts)[:, None, None, None, None]
    scores = np.ones(level.shape)
    for cut in cuts().T:
        scores += level > cut[:, None]
    return scores


def arrays_of(
    scores: np.ndarray, words: np.ndarray | None = None, expected: np.ndarray | None = None, draws: int = 1
) -> ScoreArrays:
    """Return scores (candidates, judges, personas, tasks, answers) as arrays; all answers have as many words."""
    candidates, judges, personas, tasks, answers = scores.shape
    flat = scores.reshape(candidates, judges, -1).astype(np.float32)
    size = flat.shape[2]
    return ScoreArrays(
        persona=np.repeat(np.arange(personas, dtype=np.int32), tasks * answers),
        task=np.tile(np.repeat(np.arange(tasks, dtype=np.int8), answers), personas),
        personas=personas,
        words=np.full((candidates, size), 50, np.float32) if words is None else words.astype(np.float32),
        truncated=np.zeros(candidates, np.int64),
        scores=flat,
        expected=np.full_like(flat, np.nan) if expected is None else expected.astype(np.float32),
        re_asked=np.zeros(judges, np.int64),
        draws=draws,
    )
