"""Intervals, tests and agreement of scores, against values computed by hand or by other means."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from factory.evaluation.scoring.paper_scores import GROUPS, JUDGE, SCORES, PaperRow, published
from factory.evaluation.scoring.score_text import score_cell
from factory.evaluation.scoring.scores_schema import LengthCorrelation, ScoreDifference, TaskScore
from factory.evaluation.scoring.statistics import (
    PSCORE,
    agreement,
    compare,
    compare_all,
    holm,
    length_correlation,
    persona_scores,
    summarize,
)
from factory.personagym import TASKS

NAN = float("nan")
P_VALUES = st.lists(st.one_of(st.just(NAN), st.floats(0, 1)), max_size=12)
FOUR_OBSERVERS = [  # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


def alpha_by_pairs(judges: list[list[float]]) -> float:
    """Compute alpha by Krippendorff's definition, pair by pair."""
    items = [[score for score in item if score == score] for item in zip(*judges, strict=True)]
    items = [item for item in items if len(item) > 1]
    counts = {score: sum(item.count(score) for item in items) for score in range(1, 6)}

    def distance(first: float, second: float) -> float:
        low, high = sorted((int(first), int(second)))
        return (sum(counts[score] for score in range(low, high + 1)) - (counts[low] + counts[high]) / 2) ** 2

    observed = sum(distance(*pair) / (len(item) - 1) for item in items for pair in itertools.permutations(item, 2))
    all_scores = [score for item in items for score in item]
    expected = sum(distance(*pair) for pair in itertools.permutations(all_scores, 2)) / (len(all_scores) - 1)
    return 1 - observed / expected


def test_summary_by_hand():
    result = summarize([1, 2, 3, 4], seed=1)
    assert (result.mean, result.std, result.personas) == (2.5, pytest.approx(1.25**0.5), 4)
    assert 1 <= result.low < result.mean < result.high <= 4


def test_interval_is_scipys_seeded_bootstrap():
    values = np.random.default_rng(3).normal(4, 0.3, 80)
    result = summarize(values, seed=7)
    interval = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
    assert summarize(values, seed=7) == result
    assert summarize(values, seed=8).low != result.low
    assert result.high - result.low == pytest.approx(2 * 1.96 * values.std() / 80**0.5, rel=0.05)


def test_persona_without_score_is_left_out():
    assert summarize([4, NAN, 5, NAN], seed=1) == summarize([4, 5], seed=1)


def test_one_persona_has_no_interval():
    one, none = summarize([4], seed=1), summarize([NAN], seed=1)
    assert (one.mean, one.std, one.personas) == (4, 0, 1)
    assert np.isnan([one.low, one.high, none.mean, none.std, none.low, none.high]).all()
    assert none.personas == summarize([], seed=1).personas == 0


def test_equal_scores_have_a_point_interval():
    result = summarize([4, 4, 4], seed=1)
    assert (result.mean, result.std, result.low, result.high) == (4, 0, 4, 4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(1, 5), min_size=1, max_size=30), st.randoms())
def test_order_of_personas_is_irrelevant(values, drawing):
    other = list(values)
    drawing.shuffle(other)
    one, two = summarize(values, seed=1), summarize(other, seed=1)
    assert (two.mean, two.std) == (pytest.approx(one.mean), pytest.approx(one.std, abs=1e-6))
    assert two.personas == one.personas == len(values)


def test_pscore_needs_all_tasks():
    cells = np.array([[5, 5, 4, 4, 2], [5, NAN, 4, 4, 2]], float)
    assert persona_scores(cells).tolist() == [4, pytest.approx(NAN, nan_ok=True)]


def test_comparison_by_hand():
    """Of the 16 ways to set the signs of 1, 1, 1, 3, two are as far from 0: p = 2/16; the 5th persona has one score."""
    result = compare([5, 4, 3, 5, 5], [4, 3, 2, 2, NAN], seed=1)
    assert (result.difference, result.p, result.personas) == (1.5, 2 / 16, 4)
    assert result.effect == pytest.approx(1.5 / 1)
    assert not result.significant
    assert 1 <= result.low < 1.5 < result.high <= 3


def test_comparison_is_paired():
    """Personas differ in level, and one candidate is slightly above the other in each."""
    level = np.random.default_rng(1).normal(3, 1, 60)
    lift = np.random.default_rng(2).normal(0.1, 0.1, 60)
    result = compare(level + lift, level, seed=1)
    assert result.significant
    assert result.low > 0
    assert result.effect == pytest.approx(lift.mean() / lift.std(ddof=1))
    assert stats.ttest_ind(level + lift, level).pvalue > 0.5
    assert compare(level + lift, level, seed=1) == result


def test_p_is_near_the_t_tests_for_many_personas():
    differences = np.random.default_rng(5).normal(0.03, 0.2, 200)
    result = compare(differences, np.zeros(200), seed=1)
    assert result.p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)


def test_rounding_is_no_difference():
    third = np.full(20, 0.1) * 3
    result = compare(third, np.full(20, 0.3), seed=1)
    assert (result.difference, result.effect, result.p, result.significant) == (0, 0, 1, False)


def test_constant_difference_has_no_effect_size():
    result = compare([3.1, 4.1, 2.1], [3, 4, 2], seed=1)
    assert result.difference == pytest.approx(0.1)
    assert np.isnan(result.effect)


def test_one_common_persona_has_no_p():
    one, none = compare([4, NAN], [3, 5], seed=1), compare([4, NAN], [NAN, 5], seed=1)
    assert (one.difference, one.personas, none.personas) == (1, 1, 0)
    assert np.isnan([one.p, one.effect, one.low, one.high, none.difference, none.p]).all()
    assert (one.significant, none.significant) == (False, False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=20))
def test_p_is_symmetric(pairs):
    a, b = zip(*pairs, strict=True)
    one, other = compare(a, b, seed=1), compare(b, a, seed=1)
    assert 0 < one.p <= 1
    assert other.difference == -one.difference
    assert other.p == pytest.approx(one.p, abs=0.03)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, NAN, 0.04]) == pytest.approx([0.02, NAN, 0.04], nan_ok=True)
    assert holm([0.9, 0.9]) == [1, 1]
    assert holm([]) == []


@given(P_VALUES)
def test_holm_raises_p_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    there = [(p, q) for p, q in zip(p_values, adjusted, strict=True) if p == p]
    assert [q != q for q in adjusted] == [p != p for p in p_values]
    assert all(p <= q <= 1 for p, q in there)
    ordered = [q for _, q in sorted(there)]
    assert ordered == sorted(ordered)


def test_holm_corrects_tasks_but_not_the_pscore():
    generator = np.random.default_rng(4)
    b = generator.normal(4, 0.4, (100, 5))
    a = b + generator.normal([0.2, 0.05, 0, -0.2, 0.02], 0.2, (100, 5))
    a[3, 1] = NAN
    result = compare_all(a, b, list(TASKS), seed=1)
    assert [one.task for one in result] == [*TASKS, PSCORE]
    assert [one.p_holm for one in result[:5]] == holm([one.p for one in result[:5]])
    assert [one.significant for one in result[:5]] == [one.p_holm < 0.05 for one in result[:5]]
    assert (result[0].significant, result[3].significant) == (True, True)
    assert np.isnan(result[5].p_holm)
    assert (result[0].personas, result[1].personas, result[5].personas) == (100, 99, 99)
    assert result[5].difference == pytest.approx((a - b).mean(axis=1)[~np.isnan(a[:, 1])].mean())


def test_alpha_of_a_published_example():
    assert agreement(np.array(FOUR_OBSERVERS)) == pytest.approx(0.815, abs=5e-4)
    assert agreement(np.array(FOUR_OBSERVERS)) == pytest.approx(alpha_by_pairs(FOUR_OBSERVERS))


def test_alpha_of_two_judges_by_hand():
    """Items (1, 1), (1, 2), (2, 2): three 1 and three 2, so 1 and 2 have the distance (6 - 3)^2, equal scores 0.

    One pair of three differs: observed 1/3. Of the 15 pairs of all six scores nine differ: expected 9/15.
    """
    assert agreement(np.array([[1, 1, 2], [1, 2, 2.0]])) == pytest.approx(1 - (1 / 3) / (9 / 15))


def test_alpha_ignores_the_order_of_judges():
    assert agreement(np.array(FOUR_OBSERVERS[::-1])) == pytest.approx(agreement(np.array(FOUR_OBSERVERS)))


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2, 3.0]],
        [[1, NAN], [NAN, 2]],
        [[4, 4, 5], [4, 4, NAN]],  # the 5 has no pair
        [[NAN, NAN], [NAN, NAN]],
        np.empty((2, 0)),
    ],
)
def test_undefined_alpha_is_none(values):
    assert agreement(np.array(values)) is None


def test_length_correlation_by_hand():
    result = length_correlation([10, 20, 30, 40, 50], [1, 2, 4, 3, NAN])
    assert result is not None
    assert result.rho == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert result.p == stats.spearmanr([1, 2, 3, 4], [1, 2, 4, 3]).pvalue


@pytest.mark.parametrize(("lengths", "scores"), [([5, 5, 5], [1, 2, 3]), ([1, 2, 3], [4, 4, 4]), ([1, 2], [1, 2])])
def test_undefined_length_correlation_is_none(lengths, scores):
    assert length_correlation(lengths, scores) is None


def test_schema_reads_statistics_and_json():
    for shape, result in (
        (TaskScore, summarize([4], seed=1)),
        (ScoreDifference, compare([4, NAN], [3, 5], seed=1)),
        (LengthCorrelation, length_correlation([1, 2, 3], [1, 3, 2])),
    ):
        parsed = shape.model_validate(result)
        assert shape.model_validate_json(parsed.model_dump_json()) == parsed
    assert TaskScore.model_validate(summarize([4], seed=1)).low is None


def paper_rows() -> list[PaperRow]:
    return [*published("light"), *published("full")]


def test_paper_tables_are_complete():
    assert [len(published("light")), len(published("full"))] == [18, 9]
    assert {row.group for row in paper_rows()} == set(GROUPS)
    assert all(list(row.scores) == [*TASKS, PSCORE] for row in paper_rows())
    with open(SCORES) as file:
        assert json.load(file)["judge"] == JUDGE
    for row in paper_rows():  # rounding hides up to 0.01 between the tasks' mean and the PScore
        assert np.mean([row.scores[task][0] for task in TASKS]) == pytest.approx(row.scores[PSCORE][0], abs=0.0101)


ROW_TEXTS = {
    ("light", "gpt-3.5-turbo-1106"): "4.67 (.50) 4.99 (.21) 3.12 (.60) 4.42 (.58) 4.37 (.57) 4.31 (.24)",
    ("light", "gpt-4o-2024-05-13"): "4.74 (.44) 4.96 (.33) 3.69 (.82) 4.75 (.54) 4.87 (.34) 4.60 (.24)",
    ("light", "gpt-4o-mini"): "4.74 (.44) 4.99 (.21) 3.58 (.80) 4.72 (.45) 4.89 (.40) 4.58 (.23)",
    ("light", "gpt-4o-2024-08-06"): "4.81 (.40) 4.95 (.46) 3.75 (.81) 4.68 (.47) 4.85 (.45) 4.60 (.24)",
    ("light", "LLaMA-3-8B-Instruct"): "4.80 (.40) 4.76 (.82) 4.05 (.71) 4.64 (.52) 4.85 (.38) 4.62 (.25)",
    ("light", "LLaMA-3-70B-Instruct"): "4.73 (.45) 4.75 (.85) 4.38 (.59) 4.79 (.41) 4.97 (.18) 4.72 (.24)",
    ("light", "base: ablation-1"): "4.45 (.70) 4.94 (.54) 3.58 (.79) 4.16 (.65) 4.04 (.64) 4.23 (.31)",
    ("light", "base: ablation-2"): "4.26 (.79) 4.88 (.52) 3.81 (.84) 4.12 (.59) 3.98 (.57) 4.21 (.32)",
    ("light", "base: ablation-3"): "4.71 (.52) 4.98 (.22) 3.68 (.74) 4.52 (.63) 4.79 (.49) 4.53 (.26)",
    ("light", "base: ablation-4"): "4.69 (.53) 4.86 (.61) 4.18 (.60) 4.52 (.52) 4.84 (.37) 4.62 (.24)",
    ("light", "base: ablation-5"): "4.74 (.46) 4.86 (.66) 4.17 (.65) 4.52 (.51) 4.89 (.33) 4.64 (.27)",
    ("light", "base: opencharacter"): "4.70 (.49) 4.90 (.58) 4.16 (.65) 4.50 (.57) 4.80 (.40) 4.61 (.25)",
    ("light", "instruct: ablation-1"): "4.53 (.60) 4.96 (.30) 3.77 (.80) 4.22 (.57) 4.26 (.64) 4.35 (.30)",
    ("light", "instruct: ablation-2"): "4.46 (.70) 4.92 (.46) 4.05 (.80) 4.21 (.55) 4.22 (.52) 4.37 (.30)",
    ("light", "instruct: ablation-3"): "4.74 (.45) 4.97 (.30) 3.89 (.71) 4.59 (.49) 4.80 (.51) 4.60 (.26)",
    ("light", "instruct: ablation-4"): "4.71 (.48) 4.88 (.59) 4.31 (.62) 4.51 (.58) 4.86 (.35) 4.65 (.23)",
    ("light", "instruct: ablation-5"): "4.72 (.49) 4.93 (.47) 4.28 (.64) 4.54 (.51) 4.86 (.36) 4.66 (.25)",
    ("light", "instruct: opencharacter"): "4.70 (.53) 4.92 (.50) 4.32 (.60) 4.54 (.56) 4.85 (.38) 4.66 (.27)",
    ("full", "gpt-4o-2024-05-13"): "4.59 (.24) 4.97 (.17) 3.48 (.53) 4.75 (.17) 4.61 (.17) 4.48 (.13)",
    ("full", "gpt-4o-mini"): "4.56 (.19) 4.97 (.21) 3.70 (.49) 4.67 (.25) 4.64 (.15) 4.51 (.14)",
    ("full", "gpt-4o-2024-08-06"): "4.55 (.20) 4.97 (.19) 3.80 (.47) 4.72 (.23) 4.64 (.15) 4.53 (.12)",
    ("full", "LLaMA-3-8B-Instruct"): "4.52 (.21) 4.58 (.60) 4.05 (.36) 4.54 (.20) 4.57 (.15) 4.45 (.14)",
    ("full", "LLaMA-3-70B-Instruct"): "4.59 (.16) 4.59 (.62) 4.33 (.27) 4.72 (.18) 4.64 (.13) 4.58 (.14)",
    ("full", "base: ablation-5"): "4.45 (.24) 4.78 (.45) 4.19 (.28) 4.44 (.27) 4.55 (.14) 4.48 (.14)",
    ("full", "base: opencharacter"): "4.42 (.27) 4.69 (.53) 4.20 (.29) 4.45 (.21) 4.53 (.14) 4.46 (.15)",
    ("full", "instruct: ablation-5"): "4.45 (.24) 4.81 (.43) 4.27 (.29) 4.44 (.28) 4.56 (.13) 4.50 (.15)",
    ("full", "instruct: opencharacter"): "4.47 (.24) 4.78 (.47) 4.27 (.25) 4.51 (.20) 4.58 (.12) 4.52 (.13)",
}


@pytest.mark.parametrize("row", paper_rows(), ids=lambda row: f"{row.table} {row.model}")
def test_paper_scores_are_printed_as_in_the_paper(row):
    drawn = np.random.default_rng(11).normal(size=200)
    standard = (drawn - drawn.mean()) / drawn.std()
    result = [TaskScore.model_validate(summarize(mean + std * standard, seed=1)) for mean, std in row.scores.values()]
    assert " ".join(score_cell(score, interval=False) for score in result) == ROW_TEXTS[row.table, row.model]
    for score in result:
        assert score_cell(score).startswith(score_cell(score, interval=False) + " [")
        assert score.low < score.mean < score.high


def test_std_above_one_keeps_its_digit():
    assert score_cell(TaskScore(mean=3, std=1.25, low=2.5, high=3.5, personas=9)) == "3.00 (1.25) [2.50, 3.50]"
