"""Length of answers and their scores."""

import numpy as np
import pytest

from factory.evaluation.scoring.length import length_controlled, length_correlation

PERSONAS, TASKS = 60, 5
PERSONA, TASK = np.repeat(np.arange(PERSONAS), TASKS), np.tile(np.arange(TASKS), PERSONAS)
LEVELS, LENGTHS = np.array([4.8, 4.95, 4.1, 4.6, 4.8]), np.array([120, 60, 180, 90, 150])


def unlinked(seed: int, per_word: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return words and scores: tasks and personas differ in both, and a word adds to the score."""
    generator = np.random.default_rng(seed)
    own = generator.normal(0, 1, PERSONAS)[PERSONA]
    extra = generator.normal(0, 25, len(PERSONA))
    words = LENGTHS[TASK] + 20 * own + extra
    return words, LEVELS[TASK] + 0.3 * own + per_word * extra + generator.normal(0, 0.5, len(PERSONA))


def test_tasks_and_personas_alone_make_no_correlation():
    found = [length_correlation(*unlinked(seed), PERSONA, TASK) for seed in range(200)]
    assert 0.01 <= np.mean([one.p < 0.05 for one in found]) <= 0.09
    assert abs(np.mean([one.rho for one in found])) < 0.02


def test_longer_answers_that_score_higher_are_found():
    found = length_correlation(*unlinked(1, per_word=0.01), PERSONA, TASK)
    assert found.rho > 0.2
    assert found.p < 0.001


def test_missing_answers_are_left_out():
    words, scores = unlinked(1, per_word=0.01)
    lacking = scores.copy()
    lacking[::7] = np.nan
    kept = ~np.isnan(lacking)
    one = length_correlation(words, lacking, PERSONA, TASK)
    other = length_correlation(words[kept], scores[kept], PERSONA[kept], TASK[kept])
    assert one == other


def test_undefined_correlation_is_none():
    words, scores = unlinked(1)
    assert length_correlation(np.ones_like(words), scores, PERSONA, TASK) is None
    assert length_correlation(words, np.full_like(scores, 4), PERSONA, TASK) is None
    assert length_correlation(words[:10], scores[:10], PERSONA[:10], TASK[:10]) is None  # two personas
    assert length_correlation(words, np.full_like(scores, np.nan), PERSONA, TASK) is None


def clustered_by_definition(y: np.ndarray, x: np.ndarray) -> tuple[float, float, float]:
    """Least squares with a dummy per task, and the sandwich of CR1."""
    design = np.column_stack([np.eye(TASKS)[TASK], x])
    fit = np.linalg.lstsq(design, y, rcond=None)[0]
    scores = np.stack([(design * (y - design @ fit)[:, None])[one == PERSONA].sum(axis=0) for one in range(PERSONAS)])
    bread = np.linalg.inv(design.T @ design)
    covariance = bread @ scores.T @ scores @ bread * PERSONAS / (PERSONAS - 1)
    contrast = np.append(np.full(TASKS, 1 / TASKS), 0)
    return float(contrast @ fit), float(fit[-1]), float(np.sqrt(contrast @ covariance @ contrast))


def test_difference_at_equal_length_is_the_regressions():
    generator = np.random.default_rng(2)
    x = 0.26 + generator.normal(0, 0.35, len(PERSONA)) + generator.normal(0, 0.1, PERSONAS)[PERSONA]
    y = 0.1 + 0.4 * x + generator.normal(0, 0.15, PERSONAS)[PERSONA] + generator.normal(0, 0.5, len(PERSONA))
    found = length_controlled(y, x, PERSONA, TASK)
    estimate, slope, error = clustered_by_definition(y, x)
    assert (found.difference, found.slope) == (pytest.approx(estimate), pytest.approx(slope))
    assert (found.high - found.low) / 2 == pytest.approx(2.001 * error, rel=1e-3)  # t of 59 degrees of freedom


def test_equal_lengths_leave_nothing_to_control():
    assert length_controlled(np.ones(len(PERSONA)), np.zeros(len(PERSONA)), PERSONA, TASK) is None
    assert length_controlled(np.full(len(PERSONA), np.nan), np.ones(len(PERSONA)), PERSONA, TASK) is None
