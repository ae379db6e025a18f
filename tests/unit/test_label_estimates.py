"""Judges' scores corrected by people: simulated judges of known bias, and small cases by hand."""

import math
from collections import Counter

import numpy as np
import pytest

from factory.evaluation.labels.estimates import (
    Estimate,
    Population,
    bootstrap_kappa,
    calibrated_means,
    estimate,
    estimate_difference,
    merge_unlabeled,
    raw_means,
    weighted_kappa,
)
from factory.evaluation.labels.strata import MIN_DRAWN, allocate, draw_key, merge_small, score_bins


def population_of(scores: np.ndarray, strata: np.ndarray, personas: np.ndarray) -> Population:
    return Population(scores, strata, personas, np.full(len(scores), 1 / len(scores)), int(personas.max()) + 1)


def calibrated_mean(population: Population, drawn: np.ndarray, labels: np.ndarray) -> Estimate:
    return estimate(calibrated_means(population, drawn, labels))


def raw_mean(population: Population) -> Estimate:
    return estimate(raw_means(population))


TASKS, PERSONAS, LABELS, RUNS = 5, 200, 200, 500


def world(random: np.random.Generator, shift: float) -> tuple[np.ndarray, ...]:
    """Return the scores of people and of a judge for one candidate, with tasks and personas.

    The judge is lenient with weak answers, and fails some of the worst.
    """
    persona = np.repeat(np.arange(PERSONAS), TASKS)
    task = np.tile(np.arange(TASKS), PERSONAS)
    quality = shift + random.normal(0, 0.5, PERSONAS)[persona] + random.normal(0, 0.8, PERSONAS * TASKS)
    people = np.clip(np.round(quality + random.normal(0, 0.5, len(quality))), 1, 5)
    judge = np.clip(np.round(0.6 * quality + 2.2 + random.normal(0, 0.6, len(quality))), 1, 5)
    judge[(people <= 2) & (random.random(len(quality)) < 0.3)] = np.nan
    return persona, task, people, judge


def draw(random: np.random.Generator, strata: np.ndarray, total: int) -> np.ndarray:
    counts = {int(name): int((strata == name).sum()) for name in np.unique(strata)}
    shares = allocate(counts, total)
    chosen = (random.choice(np.flatnonzero(strata == name), n, replace=False) for name, n in shares.items())
    return np.concatenate(list(chosen))


def strata_of(task: np.ndarray, judge: np.ndarray) -> np.ndarray:
    cells = list(zip(task.tolist(), score_bins(judge).tolist(), strict=True))
    merged = merge_small(Counter(cells))
    return np.array([10 * merged[cell][0] + merged[cell][1] for cell in cells])


def test_corrected_means_cover_the_truth_and_raw_ones_do_not():
    random = np.random.default_rng(7)
    truth = float(np.mean([world(random, 3.6)[2].mean() for _ in range(300)]))  # of all personas like these
    covered = raw_covered = 0
    widths = []
    for _ in range(RUNS):
        persona, task, people, judge = world(random, 3.6)
        strata = strata_of(task, judge)
        population = population_of(judge, strata, persona)
        drawn = draw(random, strata, LABELS)
        found, raw = calibrated_mean(population, drawn, people[drawn]), raw_mean(population)
        covered += found.low <= truth <= found.high
        raw_covered += raw.low <= truth <= raw.high
        widths.append(found.high - found.low)
    print(f"covered {covered}, raw {raw_covered}, mean width {np.mean(widths):.3f}")
    assert 0.92 <= covered / RUNS <= 0.97
    assert raw_covered / RUNS < 0.05
    assert np.mean(widths) < 0.4


def test_corrected_difference_covers_the_truth():
    """The judge favors the one candidate by half a point."""
    random = np.random.default_rng(3)
    covered = raw_covered = 0
    for _ in range(RUNS // 2):
        means, raws = [], []
        for bias in (0.0, 0.5):
            persona, task, people, judge = world(random, 3.6)
            judge = np.clip(judge + bias, 1, 5)
            population = population_of(judge, strata_of(task, judge), persona)
            drawn = draw(random, population.strata, LABELS // 2)
            means.append(calibrated_means(population, drawn, people[drawn]))
            raws.append(raw_means(population))
        found, raw = estimate_difference(*means), estimate_difference(*raws)
        covered += found.low <= 0 <= found.high
        raw_covered += raw.low <= 0 <= raw.high
    assert 0.92 <= covered / (RUNS // 2) <= 0.98
    assert raw_covered / (RUNS // 2) < 0.05


def test_judge_that_is_always_right_needs_no_correction():
    random = np.random.default_rng(1)
    persona, task, people, _ = world(random, 3.6)
    population = population_of(people, strata_of(task, people), persona)
    drawn = draw(random, population.strata, 100)
    found = calibrated_mean(population, drawn, people[drawn])
    assert found.mean == pytest.approx(people.mean(), abs=0.02)
    assert found.high - found.low < 1.2 * (raw_mean(population).high - raw_mean(population).low)


def test_useless_judge_gives_the_mean_of_the_labels():
    scores, strata = np.full(40, 5.0), np.zeros(40, int)
    population = population_of(scores, strata, np.arange(40))
    found = calibrated_mean(population, np.arange(10), np.array([1.0, 2] * 5))
    assert found.mean == pytest.approx(1.5)


def test_too_few_labels_give_no_mean():
    population = population_of(np.array([4.0, 5, 3]), np.zeros(3, int), np.arange(3))
    assert math.isnan(calibrated_mean(population, np.array([0]), np.array([4.0])).mean)
    assert math.isnan(calibrated_mean(population, np.array([], int), np.array([])).mean)


def test_strata_without_two_labels_are_merged():
    strata = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    assert merge_unlabeled(strata, np.array([0, 1, 5, 6])).tolist() == [0, 0, 0, 0, 0, 2, 2, 2]
    assert len(set(merge_unlabeled(strata, np.array([3])).tolist())) == 1


def test_kappa_by_hand():
    labels, weights = np.array([1.0, 2, 3, 4, 5]), np.ones(5)
    assert weighted_kappa(labels, labels, weights) == 1
    assert weighted_kappa(labels, labels[::-1], weights) == pytest.approx(-1)
    # Observed (1 + 1) / 5; expected 2 * var 2 + 0 of equal margins.
    assert weighted_kappa(labels, np.array([2.0, 1, 3, 4, 5]), weights) == pytest.approx(1 - 0.4 / 4)
    assert math.isnan(weighted_kappa(np.ones(3), np.ones(3), np.ones(3)))


def test_kappa_counts_a_row_as_often_as_it_stands_for():
    labels, scores = np.array([1.0, 4, 5, 2]), np.array([2.0, 4, 4, 2])
    weights = np.array([1.0, 3, 2, 1])
    times = weights.astype(int)
    repeated = weighted_kappa(np.repeat(labels, times), np.repeat(scores, times), np.ones(times.sum()))
    assert weighted_kappa(labels, scores, weights) == pytest.approx(repeated)
    low, high = bootstrap_kappa(labels, scores, weights, np.zeros(4), seed=1)
    assert low <= weighted_kappa(labels, scores, weights) <= high


def test_small_strata_are_merged_but_not_with_failed_answers():
    counts = {(0, 0): 40, (0, 1): 3, (0, 2): 30, (0, 3): 2, (1, 0): 4, (1, 2): 5, (1, 3): 20}
    merged = merge_small(counts)
    assert merged[0, 1] == merged[0, 2] == (0, 1)
    assert merged[0, 0] == (0, 0)
    assert merged[0, 3] == (0, 3)
    assert merged[1, 0] == merged[1, 2] == (1, 0)
    assert merged[1, 3] == (1, 3)


def test_draws_are_shared_in_proportion_with_two_each():
    shares = allocate({"a": 800, "b": 190, "c": 9, "d": 1}, 100)
    assert sum(shares.values()) == 100
    assert (shares["c"], shares["d"]) == (MIN_DRAWN, 1)
    assert shares["a"] in range(77, 81)
    assert allocate({"a": 3, "b": 2}, 100) == {"a": 3, "b": 2}


def test_bins_follow_the_mean_score():
    assert score_bins(np.array([5.0, 4.99, 4.5, 4.49, 1, np.nan])).tolist() == [0, 1, 1, 2, 2, 3]


def test_draws_depend_on_content_only():
    assert draw_key(1, "a", "b") == draw_key(1, "a", "b") != draw_key(2, "a", "b")
    assert 0 <= draw_key(1, "a") < 1
