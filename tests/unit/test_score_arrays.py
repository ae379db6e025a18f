"""Means over judges of different height, some of which fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.evaluation.scoring.score_arrays import (
    TASK_NAMES,
    ScoreArrays,
    over_judges,
    paired_cells,
    persona_task_means,
)
from factory.evaluation.scoring.statistics import PSCORE, compare_all, persona_scores

NAN = float("nan")
PERSONAS, TASKS = 200, len(TASK_NAMES)


def items_of(scores: np.ndarray, a_task: int = 1) -> ScoreArrays:
    """Of scores (candidates, judges, questions), so many questions a task."""
    candidates, _, questions = scores.shape
    personas = questions // (TASKS * a_task)
    persona = np.repeat(np.arange(personas, dtype=np.int32), TASKS * a_task)
    task = np.tile(np.repeat(np.arange(TASKS, dtype=np.int8), a_task), personas)
    words = np.ones((candidates, questions), np.float32)
    return ScoreArrays(
        persona, task, personas, words, np.zeros(candidates, np.int64), scores, np.full_like(scores, NAN)
    )


def two_heights(personas: int = PERSONAS, a_task: int = 1) -> np.ndarray:
    """Two candidates that answer alike, a mild judge (4.5 on average) and a strict one (2.5)."""
    drawn = np.random.default_rng(1).integers(0, 2, (2, personas * TASKS * a_task))
    scores = drawn + np.array([[4], [2]])
    return np.stack([scores, scores]).astype(np.float32)


@pytest.mark.parametrize("a_task", [1, 10])
def test_a_strict_judge_that_fails_on_some_answers_of_one_makes_no_difference_of_equal_candidates(a_task):
    scores = two_heights(personas=40, a_task=a_task)
    scores[1, 1, np.random.default_rng(2).random(scores.shape[2]) < 0.04] = NAN
    for cells_a, cells_b in paired_cells(items_of(scores, a_task), 0, 1):
        for result in compare_all(cells_a, cells_b, TASK_NAMES, seed=1):
            assert (result.difference, result.low, result.high, result.p) == (0, 0, 0, 1), result.task


def test_comparisons_come_by_each_judge_and_last_by_the_mean():
    scores = two_heights(personas=3)
    scores[0, 0] += 1
    mild, strict, mean = (compare_all(*both, TASK_NAMES, seed=1)[-1] for both in paired_cells(items_of(scores), 0, 1))
    assert [one.task for one in (mild, strict, mean)] == [PSCORE] * 3
    assert [one.difference for one in (mild, strict, mean)] == pytest.approx([1, 0, 0.5])


def test_a_judge_counts_in_a_comparison_only_for_the_questions_that_it_scored_for_both():
    """One task of one persona has two questions; for the second the judge has a score of one candidate alone."""
    scores = np.array([[[3, 5] * TASKS], [[3, NAN] * TASKS]])
    for cells_a, cells_b in paired_cells(items_of(scores, a_task=2), 0, 1):
        assert cells_a.tolist() == cells_b.tolist() == [[3] * TASKS]


@pytest.mark.parametrize("a_task", [1, 10])
def test_failures_of_a_strict_judge_do_not_raise_the_mean_of_a_table(a_task):
    scores = two_heights(a_task=a_task)
    items = items_of(scores, a_task)
    whole = persona_scores(persona_task_means(items, over_judges(items, scores[0])))
    scores[1, 1, np.random.default_rng(2).random(scores.shape[2]) < 0.3] = NAN
    failed = persona_scores(persona_task_means(items, over_judges(items, scores[1])))
    assert whole.mean() == pytest.approx(scores[0].mean(axis=0).mean())
    assert failed.mean() == pytest.approx(whole.mean(), abs=0.02)  # 0.3 above it by the mean of what there is
    assert not np.isnan(failed).any()


def test_what_a_failed_judge_would_have_said_is_its_height_and_the_others_opinion():
    """Heights 4 and 2. The mild one finds the first answer 1 better than its height, and so does the mean of 3."""
    mild, strict = np.repeat([5, 4, 3], TASKS), np.repeat([NAN, 2, 2], TASKS)
    told = over_judges(items_of(np.array([[mild, strict]])), np.array([mild, strict]))
    assert told.reshape(3, TASKS)[:, 0].tolist() == [4, 3, 2.5]


def test_a_judge_without_any_score_is_left_out():
    scores = np.array([np.repeat([5, 4], TASKS), np.repeat([NAN, NAN], TASKS)])
    assert over_judges(items_of(scores[None]), scores).tolist() == scores[0].tolist()
    assert np.isnan(over_judges(items_of(scores[None, 1:]), scores[1:])).all()


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 5))
def test_where_nobody_fails_it_is_the_plain_mean(data, judges, personas):
    size = judges * personas * TASKS
    drawn = data.draw(st.lists(st.integers(1, 5), min_size=size, max_size=size))
    scores = np.array(drawn, np.float32).reshape(1, judges, -1)
    told = over_judges(items_of(scores), scores[0])
    assert told == pytest.approx(scores[0].astype(float).mean(axis=0))
    assert len(set(told)) <= len(set(scores[0].sum(axis=0)))  # equal ones are equal to the last bit


def test_cells_are_the_means_of_a_personas_questions_in_a_task():
    scores = np.array([1, 2, 3, 3, NAN, 4, NAN, NAN, 5, 5])
    assert persona_task_means(items_of(scores[None, None], a_task=2), scores).tolist() == [
        [1.5, 3, 4, pytest.approx(NAN, nan_ok=True), 5]
    ]
