"""The tail of long replies, against cases computed by hand and a small simulation of an engine."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.planning.batching import ReplyLengths, tail_steps
from factory.planning.uncertainty import interval, mean_of, proportion

SAMPLES = st.lists(st.floats(1, 2000), min_size=1, max_size=30)


def reply_lengths(*values: float) -> ReplyLengths:
    return ReplyLengths.mixture([(1, np.array(values, float))])


def steps(lengths: ReplyLengths, rows: float, max_concurrency: int) -> float:
    return rows * lengths.mean / max_concurrency + tail_steps(lengths, rows, max_concurrency)


def best(draws: np.ndarray) -> float:
    return float(draws[0])


def run_engine(lengths: np.ndarray, max_concurrency: int) -> float:
    """Return the steps until the last reply of an engine ends: each row starts when another one has ended."""
    ends = [0.0] * max_concurrency
    for length in lengths:
        heapq.heappush(ends, heapq.heappop(ends) + length)
    return max(ends)


def run_engine_stepwise(lengths: list[int], max_concurrency: int, fixed: float, rate: float) -> float:
    """Return the seconds of an engine, simulated step by step."""
    waiting, running, seconds = list(lengths), [], 0.0
    while waiting or running:
        while waiting and len(running) < max_concurrency:
            running.append(waiting.pop(0))
        seconds += max_concurrency / rate * (fixed + (1 - fixed) * len(running) / max_concurrency)
        running = [left - 1 for left in running if left > 1]
    return seconds


def test_longest_of_several_rows_by_hand():
    lengths = reply_lengths(10, 20)
    assert lengths.mean == 15
    assert lengths.longest(1) == pytest.approx(15)
    assert lengths.longest(2) == pytest.approx(17.5)  # 20 in three of four cases
    assert lengths.longest(1000) == pytest.approx(20)


def test_remainder_of_equal_rows_is_uniform():
    lengths = reply_lengths(12)
    assert lengths.longest_remaining(1) == pytest.approx(6)
    assert lengths.longest_remaining(3) == pytest.approx(9, rel=0.001)  # the largest of three uniform numbers


def test_single_batch_ends_with_longest_row():
    assert steps(reply_lengths(7), 64, 64) == pytest.approx(7)


@pytest.mark.parametrize(("rows", "max_concurrency"), [(40, 64), (200, 64), (1000, 64), (500, 16)])
def test_steps_match_simulated_engine(rows, max_concurrency):
    chance = np.random.default_rng(7)
    sample = np.minimum(chance.lognormal(4.5, 0.7, 400), 1024)
    simulated = np.mean([run_engine(chance.choice(sample, rows), max_concurrency) for _ in range(60)])
    assert steps(reply_lengths(*sample), rows, max_concurrency) == pytest.approx(simulated, rel=0.06)


def test_seconds_match_stepwise_simulation():
    chance = np.random.default_rng(3)
    sample = chance.integers(20, 300, 50)
    times = [run_engine_stepwise(chance.choice(sample, 120).tolist(), 16, 0.4, 500.0) for _ in range(20)]
    lengths = reply_lengths(*sample)
    work = 120 * lengths.mean + 0.4 * 16 * tail_steps(lengths, 120, 16)
    assert work / 500 == pytest.approx(np.mean(times), rel=0.05)


@given(SAMPLES, st.integers(1, 5000), st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_tail_and_rows_never_reduce_steps(sample, rows, max_concurrency):
    lengths = reply_lengths(*sample)
    fewer, more = (steps(lengths, n, max_concurrency) for n in (rows, 2 * rows))
    assert fewer >= rows * lengths.mean / max_concurrency * (1 - 1e-9)
    assert more >= fewer * (1 - 1e-9)


@given(SAMPLES, st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_interval_contains_best_estimate(sample, part):
    mean = mean_of(np.array(sample), "sample")
    for draws in (mean, proportion(part, 50, "part")):
        found = interval(draws)
        assert found.low <= found.point <= found.high
    assert best(mean) == pytest.approx(np.mean(sample))
