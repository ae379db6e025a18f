"""Means over judges of different leniency, some of which fail."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.evaluation.scoring.score_arrays import (
    TASK_NAMES,
    ScoreArrays,
    mean_over_judges,
    paired_task_means,
    persona_task_means,
)
from factory.evaluation.scoring.statistics import PSCORE, compare_all, persona_scores

NAN = float("nan")
PERSONAS, TASKS = 200, len(TASK_NAMES)


def arrays_of(scores: np.ndarray, per_task: int = 1) -> ScoreArrays:
    """Return arrays of scores (candidates, judges, questions), with `per_task` questions per task."""
    candidates, _, questions = scores.shape
    personas = questions // (TASKS * per_task)
    persona = np.repeat(np.arange(personas, dtype=np.int32), TASKS * per_task)
    task = np.tile(np.repeat(np.arange(TASKS, dtype=np.int8), per_task), personas)
    words = np.ones((candidates, questions), np.float32)
    return ScoreArrays(
        persona, task, personas, words, np.zeros(candidates, np.int64), scores, np.full_like(scores, NAN)
    )


def two_leniencies(personas: int = PERSONAS, per_task: int = 1) -> np.ndarray:
    """Return scores of two equal candidates by a lenient judge (4.5 on average) and a strict one (2.5)."""
    drawn = np.random.default_rng(1).integers(0, 2, (2, personas * TASKS * per_task))
    scores = drawn + np.array([[4], [2]])
    return np.stack([scores, scores]).astype(np.float32)


@pytest.mark.parametrize("per_task", [1, 10])
def test_failures_of_strict_judge_add_no_difference(per_task):
    scores = two_leniencies(personas=40, per_task=per_task)
    scores[1, 1, np.random.default_rng(2).random(scores.shape[2]) < 0.04] = NAN
    for means_a, means_b in paired_task_means(arrays_of(scores, per_task), 0, 1):
        for result in compare_all(means_a, means_b, TASK_NAMES, seed=1):
            assert (result.difference, result.low, result.high, result.p) == (0, 0, 0, 1), result.task


def test_comparisons_by_each_judge_then_by_mean():
    scores = two_leniencies(personas=3)
    scores[0, 0] += 1
    lenient, strict, mean = (
        compare_all(*both, TASK_NAMES, seed=1)[-1] for both in paired_task_means(arrays_of(scores), 0, 1)
    )
    assert [one.task for one in (lenient, strict, mean)] == [PSCORE] * 3
    assert [one.difference for one in (lenient, strict, mean)] == pytest.approx([1, 0, 0.5])


def test_only_questions_scored_for_both_are_compared():
    """Each task has two questions; for the second the judge has a score for only one candidate."""
    scores = np.array([[[3, 5] * TASKS], [[3, NAN] * TASKS]])
    for means_a, means_b in paired_task_means(arrays_of(scores, per_task=2), 0, 1):
        assert means_a.tolist() == means_b.tolist() == [[3] * TASKS]


@pytest.mark.parametrize("per_task", [1, 10])
def test_failures_of_strict_judge_do_not_raise_mean(per_task):
    scores = two_leniencies(per_task=per_task)
    arrays = arrays_of(scores, per_task)
    whole = persona_scores(persona_task_means(arrays, mean_over_judges(arrays, scores[0])))
    scores[1, 1, np.random.default_rng(2).random(scores.shape[2]) < 0.3] = NAN
    failed = persona_scores(persona_task_means(arrays, mean_over_judges(arrays, scores[1])))
    assert whole.mean() == pytest.approx(scores[0].mean(axis=0).mean())
    assert failed.mean() == pytest.approx(whole.mean(), abs=0.02)  # 0.3 above it by the mean of what there is
    assert not np.isnan(failed).any()


def test_missing_score_is_filled_by_leniency_and_others():
    """The judges' means are 4 and 2. The lenient one scores the first answer 1 above its mean; over both 3 + 1."""
    lenient, strict = np.repeat([5, 4, 3], TASKS), np.repeat([NAN, 2, 2], TASKS)
    means = mean_over_judges(arrays_of(np.array([[lenient, strict]])), np.array([lenient, strict]))
    assert means.reshape(3, TASKS)[:, 0].tolist() == [4, 3, 2.5]


def test_judge_without_scores_is_left_out():
    scores = np.array([np.repeat([5, 4], TASKS), np.repeat([NAN, NAN], TASKS)])
    assert mean_over_judges(arrays_of(scores[None]), scores).tolist() == scores[0].tolist()
    assert np.isnan(mean_over_judges(arrays_of(scores[None, 1:]), scores[1:])).all()


@settings(max_examples=50, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 5))
def test_without_failures_it_is_the_plain_mean(data, judges, personas):
    size = judges * personas * TASKS
    drawn = data.draw(st.lists(st.integers(1, 5), min_size=size, max_size=size))
    scores = np.array(drawn, np.float32).reshape(1, judges, -1)
    means = mean_over_judges(arrays_of(scores), scores[0])
    assert means == pytest.approx(scores[0].astype(float).mean(axis=0))
    assert len(set(means)) <= len(set(scores[0].sum(axis=0)))  # equal ones are equal to the last bit


def test_task_means_are_over_a_personas_questions():
    scores = np.array([1, 2, 3, 3, NAN, 4, NAN, NAN, 5, 5])
    assert persona_task_means(arrays_of(scores[None, None], per_task=2), scores).tolist() == [
        [1.5, 3, 4, pytest.approx(NAN, nan_ok=True), 5]
    ]
