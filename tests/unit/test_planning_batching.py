"""The tail of long replies, against cases worked out by hand and a small simulation of an engine."""

import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.planning.batching import Lengths, Pace, steps_for, work_for, work_without_tail
from factory.planning.uncertainty import DRAWS, exactly, range_of, resampled, share

SAMPLES = st.lists(st.floats(1, 2000), min_size=1, max_size=30)


def lengths_of(*values: float) -> Lengths:
    return Lengths.of(np.array(values, float), np.full((1 + DRAWS, len(values)), 1 / len(values)))


def pace(places: int, fixed: float = 0.4, prefill: float = 0.2) -> Pace:
    return Pace(places, exactly(fixed), exactly(prefill))


def best(draws: np.ndarray) -> float:
    return float(draws[0])


def run_engine(lengths: np.ndarray, places: int) -> float:
    """Steps until the last reply of an engine ends: each row takes a place when one is free."""
    ends = [0.0] * places
    for length in lengths:
        heapq.heappush(ends, heapq.heappop(ends) + length)
    return max(ends)


def run_engine_by_the_step(lengths: list[int], places: int, fixed: float, rate: float) -> float:
    """Seconds of an engine, a step after the other."""
    waiting, running, seconds = list(lengths), [], 0.0
    while waiting or running:
        while waiting and len(running) < places:
            running.append(waiting.pop(0))
        seconds += places / rate * (fixed + (1 - fixed) * len(running) / places)
        running = [left - 1 for left in running if left > 1]
    return seconds


def test_the_longest_of_some_rows_is_worked_out_by_hand():
    lengths = lengths_of(10, 20)
    assert best(lengths.mean) == 15
    assert best(lengths.longest_of(exactly(1))) == pytest.approx(15)
    assert best(lengths.longest_of(exactly(2))) == pytest.approx(17.5)  # 20 three times of four
    assert best(lengths.longest_of(exactly(1000))) == pytest.approx(20)


def test_the_rest_of_rows_of_one_length_is_uniform():
    lengths = lengths_of(12)
    assert best(lengths.mean_left) == pytest.approx(6)
    assert best(lengths.longest_left_of(1)) == pytest.approx(6)
    assert best(lengths.longest_left_of(3)) == pytest.approx(9)  # the largest of three uniform numbers


def test_rows_that_all_have_a_place_end_with_the_longest():
    assert best(steps_for(lengths_of(7), exactly(64), 64)) == pytest.approx(7)


@pytest.mark.parametrize(("rows", "places"), [(40, 64), (200, 64), (1000, 64), (500, 16)])
def test_the_steps_of_an_engine_are_those_of_a_simulation(rows, places):
    chance = np.random.default_rng(7)
    sample = np.minimum(chance.lognormal(4.5, 0.7, 400), 1024)
    simulated = np.mean([run_engine(chance.choice(sample, rows), places) for _ in range(60)])
    assert best(steps_for(lengths_of(*sample), exactly(rows), places)) == pytest.approx(simulated, rel=0.06)


def test_the_time_of_an_engine_is_that_of_a_simulation_step_by_step():
    chance = np.random.default_rng(3)
    sample = chance.integers(20, 300, 50)
    times = [run_engine_by_the_step(chance.choice(sample, 120).tolist(), 16, 0.4, 500.0) for _ in range(20)]
    work = work_for(lengths_of(*sample), exactly(0), exactly(120), pace(16))
    assert best(work) / 500 == pytest.approx(np.mean(times), rel=0.05)


def test_prompts_count_by_their_weight():
    work = [best(work_for(lengths_of(10), exactly(p), exactly(100), pace(4, prefill=0.2))) for p in (0, 50)]
    assert work[1] - work[0] == pytest.approx(0.2 * 50 * 100)


def test_steps_that_cost_by_the_row_alone_have_no_tail():
    lengths = lengths_of(5, 10, 400)
    work = work_for(lengths, exactly(0), exactly(70), pace(16, fixed=0))
    assert best(work) == pytest.approx(best(work_without_tail(lengths, exactly(0), exactly(70), pace(16))))


@given(SAMPLES, st.integers(1, 5000), st.integers(1, 300), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_a_tail_never_makes_it_faster_and_more_rows_never_shorter(sample, rows, places, fixed):
    lengths, how = lengths_of(*sample), pace(places, fixed)
    fewer, more = (work_for(lengths, exactly(10), exactly(n), how) for n in (rows, 2 * rows))
    assert best(fewer) >= best(work_without_tail(lengths, exactly(10), exactly(rows), how)) * (1 - 1e-9)
    assert best(more) >= best(fewer)


@given(SAMPLES, st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_an_interval_holds_its_best_value(sample, part):
    mean = resampled(len(sample), "sample") @ np.array(sample)
    for draws in (mean, share(part, 50, "part")):
        told = range_of(draws)
        assert told.low <= told.point <= told.high
    assert best(mean) == pytest.approx(np.mean(sample))
