"""Intervals of means, PScores and differences, against values computed by hand or by other means, and by coverage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factory.evaluation.scoring.intervals import (
    DIFFERENCES,
    SCALE,
    difference_interval,
    gaffke_interval,
    mean_interval,
    pscore_interval,
    share,
    summarize,
)
from factory.evaluation.scoring.pscore import persona_std, pscore_values, task_means
from factory.evaluation.scoring.scores_schema import TaskScore
from tests.benchmarks import statistics as simulated

NAN = float("nan")
SCORES = st.lists(st.floats(1, 5), min_size=2, max_size=30)


def t_by_scipy(values: np.ndarray) -> tuple[float, float]:
    return stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))


def test_summary_by_hand():
    result = summarize([1, 2, 3, 4, NAN], seed=1)
    assert (result.mean, result.std, result.personas) == (2.5, pytest.approx(1.25**0.5), 4)
    assert 1 <= result.low < result.mean < result.high <= 5
    assert summarize([1, 2, 3, 4], seed=1) == result


def test_one_persona_has_no_interval():
    one, none = summarize([4], seed=1), summarize([NAN], seed=1)
    assert (one.mean, one.std, one.personas) == (4, 0, 1)
    assert np.isnan([one.low, one.high, none.mean, none.std, none.low, none.high]).all()
    assert none.personas == summarize([], seed=1).personas == 0


def test_spread_out_scores_have_students_interval():
    values = np.random.default_rng(3).integers(3, 6, 80).astype(float)
    assert mean_interval(values, seed=1) == pytest.approx(t_by_scipy(values))


@pytest.mark.parametrize("personas", [4, 6, 20, 200])
def test_equal_scores_have_an_interval_of_some_width(personas):
    low, high = mean_interval(np.full(personas, 5.0), seed=1)
    assert high == pytest.approx(5)
    # The weight of the one more persona is Beta(1, n), whose quantile is known.
    assert low == pytest.approx(5 - 4 * (1 - 0.025 ** (1 / personas)), abs=0.1)


def test_few_off_the_mode_have_gaffkes_interval():
    values = np.array([5.0] * 191 + [1.0] * 9)
    assert mean_interval(values, seed=1) == gaffke_interval(values, 1, SCALE)
    assert mean_interval(values, seed=1) != gaffke_interval(values, 2, SCALE)


def test_skewed_scores_have_gaffkes_interval():
    values = np.array([5.0] * 188 + [1.0] * 12)  # 12 are off the mode, and the skewness is -3.7: 200 < 25 * 3.7^2
    assert mean_interval(values, seed=1) == gaffke_interval(values, 1, SCALE)


def test_pscore_interval_is_students_below_ten_personas():
    values = np.random.default_rng(3).normal(4.5, 0.3, 30)
    assert pscore_interval(values[:9], seed=1) == pytest.approx(t_by_scipy(values[:9]))
    assert pscore_interval(values, seed=1) != pytest.approx(t_by_scipy(values), abs=1e-3)
    assert pscore_interval(values, seed=1) == pytest.approx(t_by_scipy(values), abs=0.05)


def test_pscore_interval_of_many_is_students():
    """Both are the same to the third digit at 1,000 personas, where the resampling ends."""
    values = 5 - np.random.default_rng(3).gamma(2, 0.15, 1_001)
    assert pscore_interval(values[:-1], seed=1) == pytest.approx(pscore_interval(values, seed=1), abs=2e-3)


def test_difference_of_few_has_gaffkes_interval():
    values = np.array([1.0, -1, 1, 1] + [0] * 60)
    low, high = difference_interval(values, seed=1)
    assert (low, high) == gaffke_interval(values, 1, DIFFERENCES)
    assert low < 0 < high
    assert difference_interval(np.append(values, 2.0), seed=1) == pytest.approx(t_by_scipy(np.append(values, 2.0)))
    assert difference_interval(np.append(values, NAN), seed=1) == (low, high)


@pytest.mark.parametrize(("values", "few"), [([4.0] * 9, True), ([1.0, 5] * 5, True), ([4.0] * 100, False)])
def test_too_few_personas_or_too_wide_an_interval_is_marked(values, few):
    assert summarize(values, seed=1).too_few == few


@settings(max_examples=25, deadline=None)
@given(SCORES, st.randoms())
def test_order_of_personas_is_irrelevant(values, drawing):
    other = list(values)
    drawing.shuffle(other)
    one, two = summarize(values, seed=1), summarize(other, seed=1)
    assert (two.low, two.high, two.personas) == (pytest.approx(one.low), pytest.approx(one.high), one.personas)


@settings(max_examples=40, deadline=None)
@given(SCORES)
def test_interval_holds_the_mean_and_stays_on_the_scale(values):
    for std in (None, 0.1):
        result = summarize(values, seed=1, std=std)
        assert 1 - 1e-6 <= result.low <= result.mean + 0.006  # values are rounded to 0.01 for Gaffke's
        assert result.mean - 0.006 <= result.high <= 5 + 1e-6


def test_share_has_clopper_pearsons_interval():
    for count, of in ((0, 20), (3, 200), (20, 20)):
        exact = stats.binomtest(count, of).proportion_ci(method="exact")
        found = share(count, of)
        assert (found.low, found.high) == (pytest.approx(exact.low), pytest.approx(exact.high))
    assert np.isnan(share(0, 0).low)


def test_pscore_of_complete_personas_is_the_mean_of_their_means():
    cells = np.random.default_rng(1).integers(1, 6, (30, 5)).astype(float)
    assert pscore_values(cells) == pytest.approx(cells.mean(axis=1))
    assert persona_std(cells) == pytest.approx(cells.mean(axis=1).std())


def test_pscore_is_the_mean_of_task_means():
    """The second persona lacks a task, the third all; task means are 4, 3, 2, 1 and 5."""
    cells = np.array([[5, 2, 2, 1, 5], [3, 4, 2, 1, NAN], [NAN] * 5])
    values = pscore_values(cells)
    assert np.isnan(values).tolist() == [False, False, True]
    assert values[:2].mean() == pytest.approx(3) == task_means(cells).mean()
    assert persona_std(cells) == 0  # of the one that is complete
    cells[:, 4] = NAN
    assert np.isnan(pscore_values(cells)).all()


def test_spread_of_an_incomplete_pscore_is_that_of_resampled_personas():
    generator = np.random.default_rng(5)
    cells = generator.integers(2, 6, (200, 5)) + generator.normal(0, 0.5, (200, 1))
    cells[generator.random((200, 5)) < 0.2] = NAN
    resampled = [task_means(cells[generator.integers(0, 200, 200)]).mean() for _ in range(4_000)]
    values = pscore_values(cells)
    assert values.std(ddof=1) / 200**0.5 == pytest.approx(np.std(resampled), rel=0.05)


@pytest.mark.parametrize("personas", [6, 20, 60])
def test_intervals_cover_the_truth(personas):
    """Seeds are fixed. `make bench ARGS=statistics` shows the full figures, of 2,000 runs: 0.93 or more."""
    assert simulated.coverage_of_means(personas, runs=150).min() >= 0.91
    assert simulated.coverage_of_differences(personas, runs=150).min() >= 0.91
    assert simulated.coverage_of_pscore(personas, runs=150) >= (0.86 if personas < 10 else 0.9)


def test_incomplete_pscores_cover_the_truth():
    assert simulated.coverage_of_pscore(60, runs=150, missing=0.2) >= 0.9


def test_pscore_of_incomplete_personas_has_less_bias():
    bias = simulated.bias_of_pscore(runs=20)
    weakest = "LH of the weakest 20 % of the personas"
    assert bias[f"{weakest}, complete personas only"] > 0.07
    assert abs(bias[weakest]) < 0.015
    assert abs(bias["20 % of the cells"]) < 0.01


def test_schema_reads_a_summary_and_json():
    parsed = TaskScore.model_validate(summarize([4], seed=1))
    assert parsed.low is None
    assert TaskScore.model_validate_json(parsed.model_dump_json()) == parsed
