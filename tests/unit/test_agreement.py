"""Agreement of judges, against values computed by hand or by Krippendorff's own package."""

import itertools

import krippendorff
import numpy as np
import pytest

from factory.evaluation.scoring.agreement import SCORES, Agreement, agreement
from tests.simulated_scores import draw_scores

NAN = float("nan")
FOUR_OBSERVERS = [  # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


def of(scores: np.ndarray, seed: int = 1) -> Agreement:
    """Measure the agreement on scores (candidates, judges, personas)."""
    personas = scores.shape[2]
    return agreement(scores, np.arange(personas), personas, seed)


def test_alpha_of_a_published_example():
    assert of(np.array(FOUR_OBSERVERS)[None]).alpha == pytest.approx(0.815, abs=5e-4)


def test_alpha_of_two_judges_by_hand():
    """Items (1, 1), (1, 2), (2, 2): three 1 and three 2, so 1 and 2 have the distance (6 - 3)^2, equal scores 0.

    One pair of three differs: observed 1/3. Of the 15 pairs of all six scores nine differ: expected 9/15. Of ten such
    sets, 60 scores, expected is 2 * 30 * 30 / (60 * 59).
    """
    scores = np.tile([[1, 1, 2], [1, 2, 2.0]], 10)[None]
    assert of(scores).alpha == pytest.approx(1 - (1 / 3) / (2 * 30 * 30 / (60 * 59)))


@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_the_package(seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(1, 6, (2, 3, 40)).astype(float)
    scores[:, 1] = np.where(generator.random((2, 40)) < 0.6, scores[:, 0], scores[:, 1])
    scores[generator.random(scores.shape) < 0.2] = NAN
    by_judge = scores.swapaxes(0, 1).reshape(3, -1)
    expected = krippendorff.alpha(by_judge, level_of_measurement="ordinal", value_domain=list(SCORES))
    assert of(scores).alpha == pytest.approx(expected)


@pytest.mark.parametrize("scores", [[[1, 2, 3.0]], [[1, NAN], [NAN, 2]], [[4] * 60, [4] * 60]])
def test_undefined_agreement_is_not_a_number(scores):
    found = of(np.array(scores, float)[None])
    assert np.isnan([found.alpha, found.alpha_low, found.same_order]).all()
    assert found.pairs == 0


@pytest.mark.parametrize(("off", "blank"), [(19, True), (20, False)])
def test_alpha_of_few_scores_off_the_mode_is_blank(off, blank):
    scores = np.full((1, 2, 200), 5.0)
    scores[0, 0, :off] = 4
    assert np.isnan(of(scores).alpha) == blank


def same_order_by_pairs(scores: np.ndarray) -> tuple[float, int]:
    alike = both = 0
    for a, b in itertools.combinations(range(scores.shape[0]), 2):
        for first, second in itertools.combinations(scores[a] - scores[b], 2):
            told_apart = (first * second != 0) & ~np.isnan(first * second)
            both += np.count_nonzero(told_apart)
            alike += np.count_nonzero(told_apart & (np.sign(first) == np.sign(second)))
    return alike / both, both


def test_same_order_is_counted_over_pairs_of_candidates():
    generator = np.random.default_rng(3)
    scores = draw_scores(generator, 50, (0, 0.2, 0.4), judges=3)[..., 2, 0]
    scores[generator.random(scores.shape) < 0.1] = NAN
    found = of(scores)
    assert (found.same_order, found.pairs) == (
        pytest.approx(same_order_by_pairs(scores)[0]),
        same_order_by_pairs(scores)[1],
    )
    assert found.same_order_low < found.same_order < found.same_order_high


def test_intervals_narrow_with_the_personas():
    few, many = (of(draw_scores(np.random.default_rng(1), size, judges=2)[..., 2, 0]) for size in (50, 800))
    assert few.alpha_low < few.alpha < few.alpha_high
    assert many.alpha_high - many.alpha_low == pytest.approx((few.alpha_high - few.alpha_low) / 4, rel=0.4)


def test_unlinked_judges_have_an_alpha_near_0_in_each_task():
    """Pooled over tasks of different height, they would agree."""
    generator = np.random.default_rng(4)
    scores = draw_scores(generator, 400, judges=2)[..., 0]
    scores[:, 1] = generator.permuted(scores[:, 1], axis=1)
    alphas = [of(scores[..., task]).alpha for task in (0, 2, 3, 4)]
    assert np.abs(alphas).max() < 0.12
    pooled = scores.swapaxes(0, 1).reshape(1, 2, -1)
    assert of(pooled).alpha > 0.12
