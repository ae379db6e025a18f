"""MinHash: similar replies are grouped, others are not, and the smallest id is kept."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.text.minhash import (
    band_keys,
    band_pairs,
    banding_for,
    duplicate_groups,
    signature,
    spanning_pairs,
)
from factory.text.ngrams import word_hashes

IDS = st.integers(0, 2**64 - 1)


def near_duplicates(texts: dict[int, str], threshold: float = 0.8) -> dict[int, int]:
    """Return the dropped ids, each with the id that is kept."""
    banding = banding_for(threshold)
    ids = np.array(list(texts), np.uint64)
    keys = band_keys(np.stack([signature(word_hashes(text)) for text in texts.values()]), banding)
    dropped, kept = duplicate_groups(band_pairs(keys.ravel(), np.repeat(ids, banding.bands)))
    return dict(zip(dropped.tolist(), kept.tolist(), strict=True))


def sentence(seed: int, length: int = 120) -> list[str]:
    return [f"w{word}" for word in random.Random(seed).choices(range(5000), k=length)]


def test_case_and_punctuation_do_not_matter():
    texts = {5: "Flour, water and salt, love!", 3: "flour water and salt love", 9: "Something else altogether."}
    assert near_duplicates(texts) == {5: 3}


@pytest.mark.parametrize("short", ["Yes.", "네", "Static and Steam"])
def test_equal_short_replies_are_duplicates(short):
    assert near_duplicates({1: short, 2: short, 3: "Another answer"}) == {2: 1}


def test_a_changed_word_hides_no_duplicate():
    texts = {}
    for number in range(40):
        text = sentence(number)
        texts[2 * number] = " ".join(text)
        texts[2 * number + 1] = " ".join([*text[:60], "changed", *text[61:]])  # similarity 0.95
    assert near_duplicates(texts) == {2 * number + 1: 2 * number for number in range(40)}


def test_half_of_a_reply_is_no_duplicate():
    texts = {}
    for number in range(40):
        text = sentence(number)
        texts[2 * number] = " ".join(text)
        texts[2 * number + 1] = " ".join([*text[:60], *sentence(1000 + number, 60)])  # similarity 0.33
    assert near_duplicates(texts) == {}


def test_recall_of_the_banding():
    banding = banding_for(0.8)
    assert banding.recall(0.9) > 0.98
    assert banding.recall(0.8) > 0.7
    assert banding.recall(0.5) < 0.02
    assert banding.bands * banding.rows <= 128


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), IDS), min_size=1, max_size=30), st.randoms())
def test_groups_do_not_depend_on_the_order(rows, rng):
    results = []
    for _ in range(2):
        bands, dialogues = (np.array(column, np.uint64) for column in zip(*rows, strict=True))
        dropped, kept = duplicate_groups(band_pairs(bands, dialogues))
        results.append((dropped.tolist(), kept.tolist()))
        rng.shuffle(rows)
    assert results[0] == results[1]
    dropped, kept = results[0]
    assert dropped == sorted(set(dropped))
    assert not set(dropped) & set(kept)
    assert all(smaller < larger for larger, smaller in zip(dropped, kept, strict=True))


def test_chains_across_partitions_are_one_group():
    first = band_pairs(np.array([1, 1], np.uint64), np.array([2**63 + 7, 4], np.uint64))
    second = band_pairs(np.array([2, 2], np.uint64), np.array([2**63 + 7, 9], np.uint64))
    dropped, kept = duplicate_groups(np.concatenate([first, second]))
    assert dropped.tolist() == [9, 2**63 + 7]
    assert kept.tolist() == [4, 4]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40), st.integers(0, 40))
def test_partitions_may_be_joined_in_any_parts(links, cut):
    pairs = np.array(links, np.uint64)
    parts = [spanning_pairs(part) for part in (pairs[:cut], pairs[cut:])]
    joined, whole = duplicate_groups(np.concatenate(parts)), duplicate_groups(pairs)
    assert [ids.tolist() for ids in joined] == [ids.tolist() for ids in whole]


def test_a_million_copies_of_a_reply_leave_one():
    dialogues = np.arange(1_000_000, dtype=np.uint64)
    pairs = [band_pairs(np.full(len(dialogues), band, np.uint64), dialogues) for band in (3, 5)]
    joined = spanning_pairs(np.concatenate(pairs))
    assert len(joined) == 999_999
    dropped, kept = duplicate_groups(joined)
    assert len(dropped) == 999_999
    assert set(kept.tolist()) == {0}
