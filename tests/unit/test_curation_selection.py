"""Who is taken, for what, and the figures of it."""

from collections import Counter

import numpy as np
import pytest
from datasketch import HyperLogLogPlusPlus
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.curation.dataset_stats import ATTRIBUTES, KEPT, PRECISION, CharacterStats, DatasetStats, most, register
from factory.curation.sampling import hash_ranks, in_validation, over_limit, rank_threshold, row_quota
from factory.text.ngrams import ngrams, word_hashes

KEYS = st.lists(st.integers(0, 2**64 - 1), unique=True, min_size=1, max_size=200)


def keys(count: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 2**63, count).astype(np.uint64)


@given(KEYS, st.integers(0, 2**32 - 1), st.floats(0, 0.99))
def test_a_character_is_in_one_split_whatever_it_stands_beside(ids, seed, fraction):
    characters = np.array(ids, np.uint64)
    whole = in_validation(np.repeat(characters, 2), seed, fraction)
    alone = [bool(in_validation(characters[[place]], seed, fraction)[0]) for place in range(len(ids))]
    assert whole.tolist() == np.repeat(alone, 2).tolist()


def test_the_split_has_about_the_fraction_and_another_seed_splits_otherwise():
    characters = keys(20_000)
    assert not in_validation(characters, 42, 0).any()
    assert in_validation(characters, 42, 0.02).mean() == pytest.approx(0.02, rel=0.1)
    assert (in_validation(characters, 42, 0.5) != in_validation(characters, 43, 0.5)).mean() > 0.4


def test_a_larger_validation_set_keeps_the_smaller_one():
    characters = keys(1000)
    small, large = (in_validation(characters, 42, fraction) for fraction in (0.1, 0.2))
    assert not (small & ~large).any()


@given(st.lists(st.tuples(st.integers(1, 10**7), st.floats(0.01, 100)), min_size=1, max_size=6))
def test_shares_are_in_proportion_and_use_all_of_one_source(sources):
    there, weights = zip(*sources, strict=True)
    kept = row_quota(there, weights)
    assert all(0 <= part <= count for part, count in zip(kept, there, strict=True))
    assert any(part == count for part, count in zip(kept, there, strict=True))
    whole = min(count / weight for count, weight in zip(there, weights, strict=True))
    assert all(abs(part - weight * whole) <= 0.5 + 1e-6 * part for part, weight in zip(kept, weights, strict=True))


@given(KEYS, st.integers(0, 250))
def test_a_cutoff_keeps_exactly_so_many(ids, keep):
    drawn = hash_ranks(np.array(ids, np.uint64), 42, "mixture")
    below = rank_threshold(drawn, keep)
    kept = len(drawn) if below is None else int((drawn < np.uint64(below)).sum())
    assert kept == min(keep, len(drawn))


@settings(max_examples=50)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(1, 4), st.randoms())
def test_every_character_keeps_its_first_draws(owners, limit, drawing):
    characters = np.array(owners, np.uint64)
    dialogues = keys(len(owners))
    drawn = hash_ranks(dialogues, 42, "character")
    over = over_limit(characters, drawn, limit)
    for owner, rows in Counter(owners).items():
        mine = characters == owner
        assert int((~over[mine]).sum()) == min(limit, rows)
        assert over[mine].sum() == 0 or drawn[mine & ~over].max() < drawn[mine & over].min()
    order = list(range(len(owners)))
    drawing.shuffle(order)
    assert over_limit(characters[order], drawn[order], limit).tolist() == over[order].tolist()


def test_purposes_draw_apart():
    ids = keys(10_000)
    one, other = (hash_ranks(ids, 42, purpose) < np.uint64(2**63) for purpose in ("mixture", "character"))
    assert (one & other).mean() == pytest.approx(0.25, abs=0.02)


def counted(*texts: str) -> DatasetStats:
    figures = DatasetStats()
    for text in texts:
        figures.add([word_hashes(text)], tokens=2, language="english")
    return figures


def test_figures_add_up_to_those_of_all_rows_together():
    texts = [f"loaf {n} of {n % 7} for {n % 13}" for n in range(500)]
    parts = counted(*texts[:123]) + counted(*texts[123:])
    whole = counted(*texts)
    assert parts.told() == whole.told()
    told = whole.told()
    assert (told["turns"], told["reply_words"], told["reply_tokens"]) == (500, 3000, 1000)
    assert told["languages"] == {"english": 500}
    distinct = {tuple(text.split()[start : start + 2]) for text in texts for start in range(5)}
    assert told["distinct_ngrams"]["2"]["of"] == 2500
    assert told["distinct_ngrams"]["2"]["distinct"] == pytest.approx(len(distinct), rel=0.03)


def test_registers_are_those_of_datasketch():
    numbers = ngrams(word_hashes(" ".join(f"w{n}" for n in range(3000))), 1)
    numbers[:64] = np.uint64(1) << np.arange(64, dtype=np.uint64)
    numbers[64:128] = ~numbers[:64]
    theirs = HyperLogLogPlusPlus(p=PRECISION, hashfunc=int)
    for number in numbers.tolist():
        theirs.update(number)
    ours = DatasetStats()
    register(ours.registers[0], numbers)
    assert ours.registers[0].tolist() == theirs.reg.tolist()


def test_no_dialogues_have_no_figures():
    told = (DatasetStats() + DatasetStats()).told()
    assert told["distinct_ngrams"]["1"] == {"distinct": 0, "of": 0, "share": 0.0}
    assert CharacterStats().told()["characters"] == 0


def profile(**items: str) -> dict[str, str]:
    return dict.fromkeys(ATTRIBUTES, "x") | items


def test_demographics_count_every_character_once():
    cast = CharacterStats()
    for age in ("34", "about 38 years", "9", "서른", "101"):
        cast.add(profile(age=age, gender=" Female "))
    told = (cast + CharacterStats()).told()
    assert told["characters"] == 5
    assert told["demographics"]["gender"] == {"female": 5}
    assert told["demographics"]["age"] == {"30-39": 2, "0-9": 1, "no number": 1, "100-109": 1}


def test_rare_values_are_summed_and_none_is_lost():
    one, other = CharacterStats(), CharacterStats()
    for number in range(3 * KEPT):
        (one if number % 2 else other).add(profile(birth_place=f"village {number}"))
    for _ in range(5):
        one.add(profile(birth_place="Lagos"))
    both = one + other
    assert len(both.attributes["birth_place"]) == KEPT + 1
    told = both.told()["demographics"]["birth_place"]
    assert (told["lagos"], sum(told.values())) == (5, 3 * KEPT + 5)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9)), st.integers(1, 6))
def test_the_commonest_and_the_others_are_all(counts, many):
    cut = most(Counter(counts), many)
    assert cut.total() == sum(counts.values())
    assert most(cut, many) == cut
