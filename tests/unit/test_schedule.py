"""The useful share of a large run, with the sizes of shards, routers and windows that the code takes."""

import pytest

from tests.benchmarks.schedule import FIXED, PAPER, SLOTS, drain, routed, useful_share, whole_shards


def test_full_batches_take_their_tokens_and_the_end_takes_longer():
    full = 40 * SLOTS
    assert drain(2 * full, SLOTS, 16, 999) - drain(full, SLOTS, 16, 999) == pytest.approx(
        40 * 0.98 * SLOTS * 450 / 2500, rel=0.05
    )
    one = drain(1, SLOTS, 16, 999)
    assert one / drain(1, 1, 16, 999) == pytest.approx(FIXED + (1 - FIXED) / SLOTS, rel=0.01)


def test_the_papers_recipe_keeps_sixteen_replicas_busy():
    assert useful_share(PAPER, 16, routed, 1) == pytest.approx(0.9, abs=0.005)
    assert useful_share(PAPER, 16, whole_shards, 2) < 0.75
