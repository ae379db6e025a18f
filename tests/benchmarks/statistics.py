"""Whether the statistics of an evaluation claim no more than they know: coverage, false claims, bias, and time.

Scores are simulated with the means and deviations of the paper's Light table, so that the truth is known. Seeds are
fixed: each run prints the same figures, but for the times.
"""

import itertools
import time
from collections.abc import Callable

import numpy as np

from factory.evaluation.scoring.comparisons import Judged, compare_pairs, rank_candidates
from factory.evaluation.scoring.intervals import LEVEL, difference_interval, summarize
from factory.evaluation.scoring.judge_mean import mean_over_judges
from factory.evaluation.scoring.multiple_testing import max_t
from factory.evaluation.scoring.pscore import persona_std, pscore_values, task_means
from factory.evaluation.scoring.score_arrays import TASK_NAMES, cells_of, score_bounds
from tests.simulated_scores import arrays_of, draw_scores, true_means

SIZES = (6, 20, 60, 200)
PSCORE_SIZES = (6, 10, 20, 60, 200)
RUNS = 2_000
WORLDS = 4_000
HIGHER = 0.25
"""How much higher the level of the better of two candidates is."""


def coverage_of_means(personas: int, runs: int) -> np.ndarray:
    """Return how often the interval of each task's mean covers the truth (tasks,)."""
    truth, covered = true_means(), np.zeros(len(TASK_NAMES))
    for seed in range(runs):
        cells = draw_scores(np.random.default_rng([1, personas, seed]), personas)[0, 0, :, :, 0]
        for task in range(len(TASK_NAMES)):
            found = summarize(cells[:, task], seed)
            covered[task] += found.low - 1e-9 <= truth[task] <= found.high + 1e-9
    return covered / runs


def coverage_of_differences(personas: int, runs: int) -> np.ndarray:
    """Return how often the interval of each task's difference covers the truth (tasks,)."""
    truth, covered = true_means(HIGHER) - true_means(), np.zeros(len(TASK_NAMES))
    for seed in range(runs):
        b, a = draw_scores(np.random.default_rng([2, personas, seed]), personas, (0, HIGHER))[:, 0, :, :, 0]
        for task in range(len(TASK_NAMES)):
            low, high = difference_interval((a - b)[:, task], seed)
            covered[task] += low - 1e-9 <= truth[task] <= high + 1e-9
    return covered / runs


def coverage_of_pscore(personas: int, runs: int, missing: float = 0) -> float:
    """Return how often the interval of the PScore covers the truth, with a share of the cells missing at random."""
    truth, covered = true_means().mean(), 0
    for seed in range(runs):
        generator = np.random.default_rng([3, personas, seed])
        cells = draw_scores(generator, personas)[0, 0, :, :, 0]
        cells[generator.random(cells.shape) < missing] = np.nan
        found = summarize(pscore_values(cells), seed, std=persona_std(cells))
        covered += found.low <= truth <= found.high
    return covered / runs


def false_claims(candidates: int, worlds: int, personas: int = 200) -> float:
    """Return in how many worlds of equal candidates any pair is claimed to differ in the PScore."""
    pairs, claimed = np.array(list(itertools.combinations(range(candidates), 2))), 0
    for seed in range(worlds):
        scores = draw_scores(np.random.default_rng([4, candidates, seed]), personas, (0,) * candidates)
        pscores = scores.mean(axis=(1, 3, 4))
        differences = pscores[pairs[:, 0]] - pscores[pairs[:, 1]]
        claimed += max_t(differences.__getitem__, len(pairs), personas, seed).min() < LEVEL
    return claimed / worlds


def worst_unscored(cells: np.ndarray, task: int, share: float, by: np.ndarray) -> np.ndarray:
    """Return the cells without those of a task for the share of the personas with the lowest `by`."""
    lacking = cells.copy()
    lacking[np.argsort(by, kind="stable")[: round(share * len(cells))], task] = np.nan
    return lacking


def bias_of_pscore(runs: int, personas: int = 200) -> dict[str, float]:
    """Return the mean error of the PScore and of that of complete personas alone, by what is missing."""
    errors: dict[str, list[float]] = {}
    others = [0, 1, 3, 4]
    for seed in range(runs):
        generator = np.random.default_rng([5, seed])
        whole = draw_scores(generator, personas)[0, 0, :, :, 0]
        ties = 0.1 * generator.random(personas)
        patterns = {
            "20 % of the cells": np.where(generator.random(whole.shape) < 0.2, np.nan, whole),
            "LH of the weakest 20 % of the personas": worst_unscored(whole, 2, 0.2, whole[:, others].mean(1) + ties),
            "worst 5 % of TC": worst_unscored(whole, 1, 0.05, whole[:, 1] + ties),
            "worst 20 % of TC": worst_unscored(whole, 1, 0.2, whole[:, 1] + ties),
        }
        for name, cells in patterns.items():
            complete = cells[~np.isnan(cells).any(axis=1)]
            errors.setdefault(f"{name}, complete personas only", []).append(complete.mean() - whole.mean())
            errors.setdefault(name, []).append(task_means(cells).mean() - whole.mean())
    return {name: float(np.mean(values)) for name, values in errors.items()}


def scored_seconds(candidates: int, pairs: list[tuple[int, int]], questions: int = 1) -> float:
    """Return the seconds of all comparisons and ranks of candidates by two judges, over 200 personas."""
    shifts = tuple(np.linspace(0, 0.5, candidates).tolist())
    arrays = arrays_of(draw_scores(np.random.default_rng(6), 200, shifts, questions, judges=2))
    start = time.monotonic()
    means = mean_over_judges(arrays.scores, arrays.task)
    bounds = np.array([score_bounds(arrays, one) for one in arrays.scores])
    judged = Judged(arrays, means, arrays.scores, bounds, np.zeros(candidates, bool), seed=1)
    compare_pairs(judged, pairs)
    rank_candidates(judged, task_means(cells_of(arrays, means)).mean(axis=-1))
    return time.monotonic() - start


def measure(say: Callable[[str], None]) -> dict[str, float]:
    """Return the lowest coverage of each interval, false claims, biases, and seconds."""
    figures: dict[str, float] = {}
    for name, coverage in (("mean", coverage_of_means), ("difference", coverage_of_differences)):
        for personas in SIZES:
            found = coverage(personas, RUNS)
            say(f"  {name}, {personas} personas, by task: {', '.join(f'{one:.3f}' for one in found)}")
            figures[f"coverage of a {name}, {personas} personas, lowest task"] = float(found.min())
    for personas in PSCORE_SIZES:
        figures[f"coverage of the PScore, {personas} personas"] = coverage_of_pscore(personas, RUNS)
    figures["coverage of the PScore, 200 personas, 20 % of the cells missing"] = coverage_of_pscore(200, RUNS, 0.2)
    for candidates in (2, 6, 12, 20):
        figures[f"any false claim, {candidates} equal candidates"] = false_claims(candidates, WORLDS)
    figures |= {f"bias: {name}": bias for name, bias in bias_of_pscore(400).items()}
    all_pairs = list(itertools.combinations(range(50), 2))
    figures["seconds of 50 candidates, all pairs"] = scored_seconds(50, all_pairs)
    figures["the same with 10 questions per task"] = scored_seconds(50, all_pairs, questions=10)
    figures["seconds of 1,000 candidates, one baseline"] = scored_seconds(1_000, [(n, 0) for n in range(1, 1_000)])
    for name, value in figures.items():
        say(f"  {name}: {value:.3f}")
    return figures
