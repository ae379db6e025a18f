"""Means over judges of different leniency, some of which fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.evaluation.scoring.judge_mean import mean_over_judges
from factory.evaluation.scoring.pscore import task_means
from factory.evaluation.scoring.score_arrays import TASK_NAMES, ScoreArrays, cells_of, score_bounds
from tests.simulated_scores import arrays_of as simulated_arrays
from tests.simulated_scores import draw_scores

NAN = float("nan")
PERSONAS, TASKS = 200, len(TASK_NAMES)


def arrays_of(scores: np.ndarray, per_task: int = 1) -> ScoreArrays:
    """Return arrays of scores (candidates, judges, questions), with `per_task` questions per task."""
    candidates, _, questions = scores.shape
    personas = questions // (TASKS * per_task)
    persona = np.repeat(np.arange(personas, dtype=np.int32), TASKS * per_task)
    task = np.tile(np.repeat(np.arange(TASKS, dtype=np.int8), per_task), personas)
    words = np.ones((candidates, questions), np.float32)
    truncated, re_asked = (np.zeros(size, np.int64) for size in scores.shape[:2])
    return ScoreArrays(persona, task, personas, words, truncated, scores, np.full_like(scores, NAN), re_asked)


def two_leniencies(personas: int = PERSONAS, per_task: int = 1) -> np.ndarray:
    """Return scores of two equal candidates by a lenient judge (4.5 on average) and a strict one (2.5)."""
    drawn = np.random.default_rng(1).integers(0, 2, (2, personas * TASKS * per_task))
    scores = drawn + np.array([[4], [2]])
    return np.stack([scores, scores]).astype(np.float32)


def mean_of(arrays: ScoreArrays, scores: np.ndarray) -> np.ndarray:
    """Return one candidate's mean over judges (questions,) of scores (judges, questions)."""
    return mean_over_judges(scores[None], arrays.task)[0]


@pytest.mark.parametrize("per_task", [1, 10])
def test_failures_of_strict_judge_do_not_raise_mean(per_task):
    scores = two_leniencies(per_task=per_task)
    arrays = arrays_of(scores, per_task)
    scores[1, 1, np.random.default_rng(2).random(scores.shape[2]) < 0.3] = NAN
    whole, failed = (cells.mean() for cells in cells_of(arrays, mean_over_judges(scores, arrays.task)))
    assert whole == pytest.approx(scores[0].mean(axis=0).mean())
    assert failed == pytest.approx(whole, abs=0.02)  # 0.3 above it by the mean of what there is


def test_mean_over_judges_is_least_squares():
    """By a dummy per answer and per judge, with a missing score filled by the fit."""
    generator = np.random.default_rng(3)
    scores = generator.integers(1, 6, (2, 3, 20)).astype(float)
    scores[generator.random(scores.shape) < 0.2] = NAN
    flat = scores.swapaxes(0, 1).reshape(3, -1)
    judge, answer = np.nonzero(~np.isnan(flat))
    design = np.column_stack([np.eye(40)[answer], np.eye(3)[judge]])
    fit = np.linalg.lstsq(design, flat[judge, answer], rcond=None)[0]
    filled = np.where(np.isnan(flat), fit[None, :40] + fit[40:, None], flat)
    filled[:, np.isnan(flat).all(axis=0)] = NAN
    found = mean_over_judges(scores, np.zeros(20, np.int8))
    assert found.ravel() == pytest.approx(filled.mean(axis=0), nan_ok=True)


def test_all_candidates_tell_a_judges_leniency():
    """A judge that failed most answers of one candidate has scored the other's."""
    scores = draw_scores(np.random.default_rng(1), 100, (0, 0), judges=2)
    scores[:, 1] -= 1
    arrays = simulated_arrays(scores)
    lacking = arrays.scores.copy()
    lacking[1, 1, 20:] = NAN
    whole, few = (mean_over_judges(one, arrays.task)[1].mean() for one in (arrays.scores, lacking))
    assert few == pytest.approx(whole, abs=0.05)


def test_missing_score_is_filled_by_leniency_and_others():
    """On the answers that both scored, 4 and 3, the judges differ by 1.5; so the missing one is 3.5, by 5."""
    lenient, strict = np.repeat([5, 4, 3], TASKS), np.repeat([NAN, 2, 2], TASKS)
    scores = np.array([lenient, strict])
    assert mean_of(arrays_of(scores[None]), scores).reshape(3, TASKS)[:, 0].tolist() == [4.25, 3, 2.5]


def test_judge_without_scores_is_left_out():
    scores = np.array([np.repeat([5, 4], TASKS), np.repeat([NAN, NAN], TASKS)])
    arrays = arrays_of(scores[None])
    assert mean_of(arrays, scores).tolist() == scores[0].tolist()
    assert np.isnan(mean_of(arrays, scores[1:])).all()
    assert arrays.judges.tolist() == [True, False]


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 5))
def test_without_failures_it_is_the_plain_mean(data, judges, personas):
    size = judges * personas * TASKS
    drawn = data.draw(st.lists(st.integers(1, 5), min_size=size, max_size=size))
    scores = np.array(drawn, np.float32).reshape(1, judges, -1)
    means = mean_of(arrays_of(scores), scores[0])
    assert means == pytest.approx(scores[0].astype(float).mean(axis=0))
    assert len(set(means)) <= len(set(scores[0].sum(axis=0)))  # equal ones are equal to the last bit


def test_cells_are_means_over_a_personas_questions():
    scores = np.array([1, 2, 3, 3, NAN, 4, NAN, NAN, 5, 5])
    cells = [[1.5, 3, 4, pytest.approx(NAN, nan_ok=True), 5]]
    assert cells_of(arrays_of(scores[None, None], per_task=2), scores).tolist() == cells
    assert cells_of(arrays_of(scores[None, None], per_task=2), np.stack([scores, scores])).tolist() == [cells] * 2


def test_bounds_are_those_of_any_scores_of_the_unscored_answers():
    scores = draw_scores(np.random.default_rng(1), 20, judges=2)
    arrays = simulated_arrays(scores)
    whole = cells_of(arrays, arrays.scores[0].mean(axis=0))
    lacking = arrays.scores[0].copy()
    lacking[np.random.default_rng(2).random(lacking.shape) < 0.1] = NAN
    low, high = score_bounds(arrays, lacking)
    truth = [*task_means(whole), task_means(whole).mean()]
    assert (low <= truth).all()
    assert (truth <= high).all()
    assert (high - low)[-1] == pytest.approx(4 * np.isnan(lacking).mean())
    assert score_bounds(arrays, arrays.scores[0]) == pytest.approx(np.stack([truth, truth]))


@pytest.mark.parametrize(("share", "ranked"), [(0.0, True), (0.01, True), (0.05, False), (1.0, False)])
def test_candidates_are_ranked_by_expected_scores_of_all_judges(share, ranked):
    scores = draw_scores(np.random.default_rng(1), 40, (0, 0), judges=2)
    expected = (scores - 0.25).reshape(2, 2, -1)
    lacking = np.arange(expected.shape[2]) < share * expected.shape[2]
    expected[1, 1, lacking] = NAN
    arrays = simulated_arrays(scores, expected=expected)
    assert arrays.has_expected == ranked
    assert np.array_equal(arrays.ranked[0, 0], expected[0, 0] if ranked else arrays.scores[0, 0])
    if ranked:
        assert np.array_equal(arrays.ranked[1, 1, lacking], arrays.scores[1, 1, lacking])
