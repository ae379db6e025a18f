"""Assignment of characters, and the cut into shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.storage.tables import MAX_SHARD_ROWS, rows_per_shard
from factory.synthesis.assignment import cut_at_characters, draw_characters


@pytest.mark.parametrize(("instructions", "distinct"), [(1_074, 2_986), (50_000, 19_990), (52_002, 19_991)])
def test_draws_have_the_papers_distinct_characters(instructions, distinct):
    draws = draw_characters(instructions, characters=20_000, n=3, seed=42)
    assert len(np.unique(draws)) == distinct


@given(instructions=st.integers(0, 50), characters=st.integers(1, 40), data=st.data())
def test_instructions_get_n_distinct_characters(instructions, characters, data):
    n = data.draw(st.integers(1, characters))
    draws = draw_characters(instructions, characters, n, seed=1)
    assert draws.shape == (instructions, n)
    assert all(len(set(row)) == n and min(row) >= 0 and max(row) < characters for row in draws.tolist())


def test_more_instructions_do_not_change_earlier_draws():
    assert np.array_equal(draw_characters(10, 100, 3, 42), draw_characters(20, 100, 3, 42)[:10])


@given(counts=st.lists(st.integers(1, 30), max_size=40), shard_rows=st.integers(1, 50))
def test_shards_hold_whole_characters(counts, shard_rows):
    keys = np.repeat(np.arange(len(counts)), counts)
    shards = list(cut_at_characters(keys, shard_rows))
    assert [row for start, end in shards for row in range(start, end)] == list(range(len(keys)))
    characters = [set(keys[start:end].tolist()) for start, end in shards]
    assert sum(map(len, characters)) == len(counts)
    assert all(end - start >= shard_rows for start, end in shards[:-1])


def test_very_large_characters_are_cut():
    shards = list(cut_at_characters(np.zeros(MAX_SHARD_ROWS * 2 + 5), 16))
    assert [end - start for start, end in shards] == [MAX_SHARD_ROWS, MAX_SHARD_ROWS, 5]


@given(rows=st.integers(0, 10**9))
def test_shard_sizes_are_bounded(rows):
    assert 16 <= rows_per_shard(rows) <= MAX_SHARD_ROWS
