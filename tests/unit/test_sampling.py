"""Sampling: splits, mixture quotas and the limit per character."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.curation.sampling import hash_ranks, in_validation, over_limit, rank_threshold, row_quota

KEYS = st.lists(st.integers(0, 2**64 - 1), unique=True, min_size=1, max_size=200)


def keys(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 2**63, count).astype(np.uint64)


@given(KEYS, st.integers(0, 2**32 - 1), st.floats(0, 0.99))
def test_split_depends_on_the_character_alone(ids, seed, fraction):
    characters = np.array(ids, np.uint64)
    whole = in_validation(np.repeat(characters, 2), seed, fraction)
    alone = [bool(in_validation(characters[[number]], seed, fraction)[0]) for number in range(len(ids))]
    assert whole.tolist() == np.repeat(alone, 2).tolist()


def test_split_fraction_and_seed():
    characters = keys(20_000)
    assert not in_validation(characters, 42, 0).any()
    assert in_validation(characters, 42, 0.02).mean() == pytest.approx(0.02, rel=0.1)
    assert (in_validation(characters, 42, 0.5) != in_validation(characters, 43, 0.5)).mean() > 0.4


def test_larger_validation_set_contains_the_smaller():
    characters = keys(1000)
    small, large = (in_validation(characters, 42, fraction) for fraction in (0.1, 0.2))
    assert not (small & ~large).any()


@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(0.01, 100)), min_size=1, max_size=6))
def test_quotas_are_in_proportion(sources):
    available, weights = zip(*sources, strict=True)
    kept = row_quota(available, weights)
    assert all(0 <= part <= count for part, count in zip(kept, available, strict=True))
    assert any(part == count for part, count in zip(kept, available, strict=True))
    whole = min(count / weight for count, weight in zip(available, weights, strict=True))
    assert all(abs(part - weight * whole) <= 0.5 + 1e-6 * part for part, weight in zip(kept, weights, strict=True))


@given(KEYS, st.integers(0, 250))
def test_rank_threshold_keeps_the_exact_number(ids, keep):
    ranks = hash_ranks(np.array(ids, np.uint64), 42, "mixture")
    threshold = rank_threshold(ranks, keep)
    kept = len(ranks) if threshold is None else int((ranks < np.uint64(threshold)).sum())
    assert kept == min(keep, len(ranks))


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 4), st.randoms())
def test_characters_keep_their_lowest_ranks(owners, limit, rng):
    characters = np.array(owners, np.uint64)
    dialogues = keys(len(owners))
    ranks = hash_ranks(dialogues, 42, "character")
    over = over_limit(characters, ranks, limit)
    for owner, rows in Counter(owners).items():
        own = characters == owner
        assert int((~over[own]).sum()) == min(limit, rows)
        assert over[own].sum() == 0 or ranks[own & ~over].max() < ranks[own & over].min()
    order = list(range(len(owners)))
    rng.shuffle(order)
    assert over_limit(characters[order], ranks[order], limit).tolist() == over[order].tolist()


def test_ranks_of_purposes_are_independent():
    ids = keys(10_000)
    first, second = (hash_ranks(ids, 42, purpose) < np.uint64(2**63) for purpose in ("mixture", "character"))
    assert (first & second).mean() == pytest.approx(0.25, abs=0.02)
