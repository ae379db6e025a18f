"""Tests of families of comparisons: false claims, verdicts, bounds and ranks."""

import itertools

import numpy as np
import pytest

from factory.evaluation.scoring import multiple_testing
from factory.evaluation.scoring.comparisons import Judged, compare_pairs, rank_candidates
from factory.evaluation.scoring.judge_mean import mean_over_judges
from factory.evaluation.scoring.multiple_testing import max_t, sign_flips
from factory.evaluation.scoring.pscore import PSCORE, task_means
from factory.evaluation.scoring.score_arrays import TASK_NAMES, cells_of, score_bounds
from tests.benchmarks import statistics as simulated
from tests.simulated_scores import arrays_of, draw_scores

NAN = float("nan")


def judged_of(scores: np.ndarray, words: np.ndarray | None = None, blank: tuple[int, ...] = ()) -> Judged:
    """Return what to compare, of scores (candidates, judges, personas, tasks, questions)."""
    arrays = arrays_of(scores, words)
    bounds = np.array([score_bounds(arrays, one) for one in arrays.scores])
    left_out = np.isin(np.arange(len(scores)), blank)
    return Judged(arrays, mean_over_judges(arrays.scores, arrays.task), arrays.scores, bounds, left_out, seed=1)


def drawn(*shifts: float, personas: int = 200, judges: int = 1, questions: int = 1) -> np.ndarray:
    return draw_scores(np.random.default_rng(2), personas, shifts, questions, judges)


def ranked(judged: Judged) -> list:
    return rank_candidates(judged, task_means(cells_of(judged.arrays, judged.means)).mean(axis=-1))


def adjusted_by_definition(values: np.ndarray, seed: int) -> list[float]:
    """Step down: each hypothesis is compared with the highest statistic of those that are not more extreme."""
    flips = sign_flips(values.shape[1], seed).astype(float)
    size = np.sqrt((values**2).sum(axis=1))
    flipped, observed = np.abs(flips @ (values / size[:, None]).T), np.abs(values.sum(axis=1) / size)
    order = np.argsort(-observed)
    p_values, so_far = np.ones(len(values)), 0.0
    for place, number in enumerate(order):
        highest = flipped[:, order[place:]].max(axis=1)
        so_far = max(so_far, float((highest >= observed[number] - 1e-9).mean()))
        p_values[number] = so_far
    return p_values.tolist()


@pytest.mark.parametrize("personas", [8, 60])
def test_adjusted_p_is_as_defined(personas, monkeypatch):
    monkeypatch.setattr(multiple_testing, "_CHUNK", 7)
    values = np.random.default_rng(1).normal(0.1, 1, (20, personas))
    found = max_t(values.__getitem__, 20, personas, seed=3)
    assert found.tolist() == pytest.approx(adjusted_by_definition(values, seed=3))


def test_all_flips_of_few_personas_are_taken():
    """Of the 16 ways to set the signs of 1, 1, 1, 3, two are as far from 0."""
    assert len(sign_flips(4, seed=1)) == 16
    assert max_t(np.array([[1.0, 1, 1, 3]]).__getitem__, 1, 4, seed=1).tolist() == [2 / 16]


def test_one_hypothesis_has_nearly_the_t_tests_p():
    from scipy import stats

    values = np.random.default_rng(5).normal(0.03, 0.2, (1, 200))
    found = max_t(values.__getitem__, 1, 200, seed=1)[0]
    assert found == pytest.approx(stats.ttest_1samp(values[0], 0).pvalue, abs=0.02)


def test_nothing_that_differs_has_a_p_of_1():
    assert max_t(np.zeros((3, 30)).__getitem__, 3, 30, seed=1).tolist() == [1, 1, 1]
    assert max_t(np.full((2, 30), NAN).__getitem__, 2, 30, seed=1).tolist() == [1, 1]
    assert max_t(np.zeros((0, 30)).__getitem__, 0, 30, seed=1).tolist() == []


@pytest.mark.parametrize("candidates", [2, 6])
def test_equal_candidates_are_seldom_told_apart(candidates):
    """Seeds are fixed. `make bench ARGS=statistics` shows the figures of 4,000 worlds: at most 0.065."""
    assert simulated.false_claims(candidates, worlds=200, personas=60) <= 0.08


def test_difference_by_hand():
    a, b = np.full((12, 5), 4.0), np.full((12, 5), 4.0)
    a[:6, 0] = 5
    (found,) = compare_pairs(judged_of(np.stack([a, b])[:, None, :, :, None]), [(0, 1)])
    assert [one.task for one in found.results] == [*TASK_NAMES, PSCORE]
    first, *_, last = found.results
    assert (first.difference, last.difference) == (0.5, pytest.approx(0.1))
    assert first.effect == pytest.approx(0.5 / np.std([1] * 6 + [0] * 6, ddof=1))
    assert (first.p, first.personas) == (pytest.approx(2 / 2**6, abs=1e-2), 12)
    assert [one.difference for one in found.results[1:5]] == [0] * 4
    assert {one.p for one in found.results[1:5]} == {1}


def test_comparison_is_paired():
    """Personas differ in level, and one candidate is slightly above the other in each."""
    level = np.random.default_rng(1).normal(3, 1, (60, 5))
    lift = np.random.default_rng(2).normal(0.1, 0.1, (60, 5))
    (found,) = compare_pairs(judged_of(np.stack([level + lift, level])[:, None, :, :, None]), [(0, 1)])
    assert {one.verdict for one in found.results} == {"higher"}
    assert found.results[-1].low > 0


def test_verdicts_of_one_pair_mirror_each_other():
    scores = drawn(0, 0.5, personas=60)
    (one,), (other,) = (compare_pairs(judged_of(scores), [pair]) for pair in ((1, 0), (0, 1)))
    assert (one.results[-1].verdict, other.results[-1].verdict) == ("higher", "lower")
    assert one.results[-1].difference == -other.results[-1].difference
    assert one.results[-1].low == pytest.approx(-other.results[-1].high)
    assert one.results[-1].p == other.results[-1].p


def test_p_is_adjusted_for_the_family():
    scores = drawn(*[0.0] * 8, 0.1)
    one = compare_pairs(judged_of(scores), [(8, 0)])[0].results[-1]
    many = compare_pairs(judged_of(scores), [(number, 0) for number in range(1, 9)])[-1].results[-1]
    assert many.difference == one.difference
    assert many.p > 1.5 * one.p


@pytest.mark.parametrize(
    ("personas", "differing", "verdict"), [(9, 9, "too_few"), (20, 5, "too_few"), (20, 6, "higher")]
)
def test_few_personas_or_few_that_differ_claim_nothing(personas, differing, verdict):
    b = np.full((personas, 5), 3.0)
    a = b.copy()
    a[:differing] += 1
    (found,) = compare_pairs(judged_of(np.stack([a, b])[:, None, :, :, None]), [(0, 1)])
    assert found.results[-1].verdict == verdict


def test_verdict_stands_only_if_unscored_answers_cannot_turn_it():
    scores = drawn(0, 0.4)
    assert compare_pairs(judged_of(scores), [(1, 0)])[0].results[-1].verdict == "higher"
    scores[1, 0, :12] = NAN  # 6 %: as 1 they would lower the mean by .22
    assert compare_pairs(judged_of(scores), [(1, 0)])[0].results[-1].verdict == "depends_on_unscored"
    assert compare_pairs(judged_of(scores), [(0, 1)])[0].results[-1].verdict == "depends_on_unscored"


def test_blank_candidate_has_no_verdict_and_no_rank():
    judged = judged_of(drawn(0, 1, 2), blank=(2,))
    pairs = [(1, 0), (2, 0)]
    one, blank = compare_pairs(judged, pairs)
    assert {result.verdict for result in blank.results} == {"blank"}
    assert np.isnan([result.p for result in blank.results]).all()
    assert one.results[-1].p == compare_pairs(judged_of(drawn(0, 1, 2)), [(1, 0)])[0].results[-1].p
    assert ranked(judged)[2] is None
    assert [rank.rank for rank in ranked(judged)[:2]] == [2, 1]


def test_only_common_questions_are_compared():
    """Each task has two questions. The second is hard, and a's answers to it are not scored."""
    scores = np.stack([np.full((20, 5, 2), 5.0), np.full((20, 5, 2), 5.0)])[:, None]
    scores[..., 1] = 1
    scores[0, ..., 1] = NAN
    (found,) = compare_pairs(judged_of(scores), [(0, 1)])
    assert [one.difference for one in found.results] == [0] * 6


def test_single_judges_have_intervals_and_directions():
    scores = drawn(0, 0, judges=2)
    scores[1, 0] = np.minimum(scores[1, 0] + 1, 5)
    scores[1, 1] = np.maximum(scores[1, 1] - 1, 1)
    (found,) = compare_pairs(judged_of(scores), [(1, 0)])
    first, second = found.by_judge
    assert first.low > 0 > second.high
    assert first.low < first.difference < first.high


def test_ranks_have_intervals():
    ranks = ranked(judged_of(drawn(0, 0, 1.5)))
    assert (ranks[2].rank, ranks[2].low, ranks[2].high) == (1, 1, 1)
    assert [(rank.low, rank.high) for rank in ranks[:2]] == [(2, 3)] * 2
    assert sorted(rank.rank for rank in ranks) == [1, 2, 3]


def test_equal_candidates_share_a_rank():
    same = drawn(0)
    ranks = ranked(judged_of(np.concatenate([same, same])))
    assert [(one.rank, one.low, one.high) for one in ranks] == [(1, 1, 2)] * 2


def test_rank_intervals_cover_the_true_ranks():
    shifts = (0.0, 0.15, 0.3, 0.45)
    covered = 0
    for seed in range(60):
        ranks = ranked(judged_of(draw_scores(np.random.default_rng([7, seed]), 100, shifts)))
        covered += all(one.low <= 4 - number <= one.high for number, one in enumerate(ranks))
    assert covered >= 54


def test_family_is_the_same_in_any_order_of_its_pairs():
    judged = judged_of(drawn(0, 0.1, 0.2, 0.3, personas=50))
    pairs = list(itertools.combinations(range(4), 2))
    one, other = compare_pairs(judged, pairs), compare_pairs(judged, pairs[::-1])[::-1]
    assert [[result.p for result in found.results] for found in one] == [
        [result.p for result in found.results] for found in other
    ]
