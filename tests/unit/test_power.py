"""What an evaluation can find, against simulated evaluations."""

import numpy as np
import pytest
from scipy import stats

from factory.evaluation.scoring.comparisons import Judged
from factory.evaluation.scoring.judge_mean import mean_over_judges
from factory.evaluation.scoring.power import (
    TYPICAL,
    expected_findable,
    findable_difference,
    measure_spread,
    smallest_difference,
)
from tests.simulated_scores import arrays_of, draw_scores, true_means


def judged_of(personas: int, questions: int, judges: int, draws: int = 1, seed: int = 1, shift: float = 0) -> Judged:
    scores = draw_scores(np.random.default_rng(seed), personas, (0, shift), questions, judges, draws)
    arrays = arrays_of(scores, draws=draws)
    return Judged(
        arrays, mean_over_judges(arrays.scores, arrays.task), arrays.scores, np.zeros((2, 2, 6)), np.zeros(2, bool), 1
    )


def test_smallest_difference_is_found_in_80_percent():
    generator = np.random.default_rng(1)
    difference = smallest_difference(0.09, 60)
    samples = generator.normal(difference, 0.3, (4_000, 60))
    assert np.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.02)
    assert smallest_difference(0.09, 60, comparisons=10) > 1.25 * difference
    assert np.isnan(smallest_difference(0.09, 1))


def test_findable_difference_is_found_in_simulated_evaluations():
    found = findable_difference(judged_of(200, 1, 1), [(1, 0)])
    shift = np.interp(
        found.difference, [true_means(at).mean() - true_means().mean() for at in (0, 0.1, 0.2)], (0, 0.1, 0.2)
    )
    hits = 0
    for seed in range(200):
        base, better = draw_scores(np.random.default_rng([1, seed]), 200, (0, shift)).mean(axis=(1, 3, 4))
        hits += stats.ttest_rel(better, base).pvalue < 0.05
    assert hits / 200 == pytest.approx(0.8, abs=0.08)


@pytest.mark.parametrize(("questions", "judges"), [(1, 2), (4, 1), (4, 2)])
def test_twice_as_much_is_predicted(questions, judges):
    found = findable_difference(judged_of(400, questions, judges), [(1, 0)])
    assert found.personas == pytest.approx(found.difference / 2**0.5, rel=0.01)
    more_questions = findable_difference(judged_of(400, 2 * questions, judges), [(1, 0)]).difference
    if questions > 1:
        assert found.questions == pytest.approx(more_questions, rel=0.1)
    else:
        assert found.questions < more_questions * 1.05  # the least that it can be
    assert found.questions_measured == (questions > 1)
    if judges > 1:
        more_judges = findable_difference(judged_of(400, questions, 2 * judges), [(1, 0)]).difference
        assert found.judges == pytest.approx(more_judges, rel=0.1)
    else:
        assert np.isnan(found.judges)


@pytest.mark.parametrize(("questions", "draws", "judges"), [(1, 2, 1), (1, 4, 2), (3, 2, 2)])
def test_effect_of_more_answers_per_question_is_predicted(questions, draws, judges):
    found = findable_difference(judged_of(600, questions, judges, draws), [(1, 0)])
    assert found.draws_measured
    assert found.questions_measured == (questions > 1)
    more = findable_difference(judged_of(600, questions, judges, 2 * draws), [(1, 0)]).difference
    assert found.draws == pytest.approx(more, rel=0.1)
    assert more < 0.97 * found.difference
    single = findable_difference(judged_of(600, questions, judges), [(1, 0)])
    assert not single.draws_measured
    two = findable_difference(judged_of(600, questions, judges, 2), [(1, 0)])
    assert single.draws <= 1.05 * two.difference  # the least that it can be


def test_draws_are_no_questions():
    """Twenty answers to one question tell nothing of other questions: only the draws' part nearly vanishes."""
    one, many = (findable_difference(judged_of(600, 1, 1, draws), [(1, 0)]) for draws in (1, 20))
    assert many.difference < 0.75 * one.difference
    assert many.draws > 0.9 * many.difference > 1.2 * one.draws * many.difference / one.difference
    assert not many.questions_measured


@pytest.mark.parametrize("draws", [1, 3])
def test_missing_scores_leave_the_spread(draws):
    judged = judged_of(400, 4, 2, draws)
    whole = measure_spread(judged.arrays, judged.by_judge[1] - judged.by_judge[0], judged.means[1] - judged.means[0])
    judged.by_judge[np.random.default_rng(1).random(judged.by_judge.shape) < 0.05] = np.nan
    means = mean_over_judges(judged.by_judge, judged.arrays.task)
    lacking = measure_spread(judged.arrays, judged.by_judge[1] - judged.by_judge[0], means[1] - means[0])
    assert lacking.total == pytest.approx(whole.total, rel=0.15)
    assert lacking.questions == pytest.approx(whole.questions, rel=0.15)
    assert lacking.judges == pytest.approx(whole.judges, rel=0.15)
    assert lacking.draws == pytest.approx(whole.draws, rel=0.15, nan_ok=True)


def test_one_candidate_has_nothing_to_find():
    assert findable_difference(judged_of(20, 1, 1), []) is None


@pytest.mark.parametrize(("questions", "judges"), [(1, 1), (1, 2), (10, 1)])
def test_typical_spread_is_that_of_the_papers_scores(questions, judges):
    measured = findable_difference(judged_of(1_000, questions, judges), [(1, 0)]).difference
    assert expected_findable(1_000, questions, 1, judges, 1).difference == pytest.approx(measured, rel=0.1)
    assert TYPICAL.variance(1, 1, 1) > TYPICAL.variance(1, 4, 1) > TYPICAL.variance(1, 4, 4)
