"""Statistics of the curated set."""

from collections import Counter

import numpy as np
import pytest
from datasketch import HyperLogLogPlusPlus
from hypothesis import given
from hypothesis import strategies as st

from factory.curation.dataset_stats import (
    ATTRIBUTES,
    COUNTED_VALUES,
    PRECISION,
    CharacterStats,
    DatasetStats,
    most_common,
    update_registers,
)
from factory.text.ngrams import ngrams, word_hashes


def stats_for(*texts: str) -> DatasetStats:
    stats = DatasetStats()
    for text in texts:
        stats.add([word_hashes(text)], tokens=2, language="english")
    return stats


def test_sum_of_parts_equals_the_whole():
    texts = [f"loaf {n} of {n % 7} for {n % 13}" for n in range(500)]
    parts = stats_for(*texts[:123]) + stats_for(*texts[123:])
    whole = stats_for(*texts)
    assert parts.to_manifest() == whole.to_manifest()
    manifest = whole.to_manifest()
    assert (manifest["turns"], manifest["reply_words"], manifest["reply_tokens"]) == (500, 3000, 1000)
    assert manifest["languages"] == {"english": 500}
    distinct = {tuple(text.split()[start : start + 2]) for text in texts for start in range(5)}
    assert manifest["distinct_ngrams"]["2"]["of"] == 2500
    assert manifest["distinct_ngrams"]["2"]["distinct"] == pytest.approx(len(distinct), rel=0.03)


def test_registers_equal_those_of_datasketch():
    numbers = ngrams(word_hashes(" ".join(f"w{n}" for n in range(3000))), 1)
    numbers[:64] = np.uint64(1) << np.arange(64, dtype=np.uint64)
    numbers[64:128] = ~numbers[:64]
    expected = HyperLogLogPlusPlus(p=PRECISION, hashfunc=int)
    for number in numbers.tolist():
        expected.update(number)
    stats = DatasetStats()
    update_registers(stats.registers[0], numbers)
    assert stats.registers[0].tolist() == expected.reg.tolist()


def test_empty_statistics():
    manifest = (DatasetStats() + DatasetStats()).to_manifest()
    assert manifest["distinct_ngrams"]["1"] == {"distinct": 0, "of": 0, "share": 0.0}
    assert CharacterStats().to_manifest()["characters"] == 0


def profile(**items: str) -> dict[str, str]:
    return dict.fromkeys(ATTRIBUTES, "x") | items


def test_demographics_count_every_character_once():
    stats = CharacterStats()
    for age in ("34", "about 38 years", "9", "서른", "101"):
        stats.add(profile(age=age, gender=" Female "))
    manifest = (stats + CharacterStats()).to_manifest()
    assert manifest["characters"] == 5
    assert manifest["demographics"]["gender"] == {"female": 5}
    assert manifest["demographics"]["age"] == {"30-39": 2, "0-9": 1, "no number": 1, "100-109": 1}


def test_rare_values_are_summed():
    first, second = CharacterStats(), CharacterStats()
    for number in range(3 * COUNTED_VALUES):
        (first if number % 2 else second).add(profile(birth_place=f"village {number}"))
    for _ in range(5):
        first.add(profile(birth_place="Lagos"))
    both = first + second
    assert len(both.attributes["birth_place"]) == COUNTED_VALUES + 1
    manifest = both.to_manifest()["demographics"]["birth_place"]
    assert (manifest["lagos"], sum(manifest.values())) == (5, 3 * COUNTED_VALUES + 5)


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9)), st.integers(1, 6))
def test_most_common_keeps_the_total(counts, limit):
    cut = most_common(Counter(counts), limit)
    assert cut.total() == sum(counts.values())
    assert most_common(cut, limit) == cut
