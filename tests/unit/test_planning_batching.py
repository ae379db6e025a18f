"""The tail of long replies, against cases computed by hand and a small simulation of an engine."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.planning.batching import BatchCost, ReplyLengths, decode_steps, engine_work, full_steps
from factory.planning.uncertainty import DRAWS, bootstrap_weights, constant, interval, proportion

SAMPLES = st.lists(st.floats(1, 2000), min_size=1, max_size=30)


def reply_lengths(*values: float) -> ReplyLengths:
    return ReplyLengths.from_sample(np.array(values, float), np.full((1 + DRAWS, len(values)), 1 / len(values)))


def batch_cost(max_concurrency: int, fixed: float = 0.4, prefill: float = 0.2) -> BatchCost:
    return BatchCost(max_concurrency, constant(fixed), constant(prefill))


def work_without_tail(lengths: ReplyLengths, prompt: float, rows: float, cost: BatchCost) -> float:
    steps = full_steps(lengths, constant(rows), cost.max_concurrency)
    return best(engine_work(lengths, constant(prompt), constant(rows), cost, steps))


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
    assert best(lengths.mean) == 15
    assert best(lengths.longest(constant(1))) == pytest.approx(15)
    assert best(lengths.longest(constant(2))) == pytest.approx(17.5)  # 20 in three of four cases
    assert best(lengths.longest(constant(1000))) == pytest.approx(20)


def test_remainder_of_equal_rows_is_uniform():
    lengths = reply_lengths(12)
    assert best(lengths.mean_remaining) == pytest.approx(6)
    assert best(lengths.longest_remaining(1)) == pytest.approx(6)
    assert best(lengths.longest_remaining(3)) == pytest.approx(9)  # the largest of three uniform numbers


def test_single_batch_ends_with_longest_row():
    assert best(decode_steps(reply_lengths(7), constant(64), 64)) == pytest.approx(7)


@pytest.mark.parametrize(("rows", "max_concurrency"), [(40, 64), (200, 64), (1000, 64), (500, 16)])
def test_steps_match_simulated_engine(rows, max_concurrency):
    chance = np.random.default_rng(7)
    sample = np.minimum(chance.lognormal(4.5, 0.7, 400), 1024)
    simulated = np.mean([run_engine(chance.choice(sample, rows), max_concurrency) for _ in range(60)])
    assert best(decode_steps(reply_lengths(*sample), constant(rows), max_concurrency)) == pytest.approx(
        simulated, rel=0.06
    )


def test_seconds_match_stepwise_simulation():
    chance = np.random.default_rng(3)
    sample = chance.integers(20, 300, 50)
    times = [run_engine_stepwise(chance.choice(sample, 120).tolist(), 16, 0.4, 500.0) for _ in range(20)]
    work = engine_work(reply_lengths(*sample), constant(0), constant(120), batch_cost(16))
    assert best(work) / 500 == pytest.approx(np.mean(times), rel=0.05)


def test_prompts_cost_their_prefill():
    work = [
        best(engine_work(reply_lengths(10), constant(p), constant(100), batch_cost(4, prefill=0.2))) for p in (0, 50)
    ]
    assert work[1] - work[0] == pytest.approx(0.2 * 50 * 100)


def test_no_tail_without_fixed_cost():
    lengths = reply_lengths(5, 10, 400)
    work = engine_work(lengths, constant(0), constant(70), batch_cost(16, fixed=0))
    assert best(work) == pytest.approx(work_without_tail(lengths, 0, 70, batch_cost(16)))


@given(SAMPLES, st.integers(1, 5000), st.integers(1, 300), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_tail_and_rows_never_reduce_work(sample, rows, max_concurrency, fixed):
    lengths, cost = reply_lengths(*sample), batch_cost(max_concurrency, fixed)
    fewer, more = (engine_work(lengths, constant(10), constant(n), cost) for n in (rows, 2 * rows))
    assert best(fewer) >= work_without_tail(lengths, 10, rows, cost) * (1 - 1e-9)
    assert best(more) >= best(fewer)


@given(SAMPLES, st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_interval_contains_best_estimate(sample, part):
    mean = bootstrap_weights(len(sample), "sample") @ np.array(sample)
    for draws in (mean, proportion(part, 50, "part")):
        found = interval(draws)
        assert found.low <= found.point <= found.high
    assert best(mean) == pytest.approx(np.mean(sample))
