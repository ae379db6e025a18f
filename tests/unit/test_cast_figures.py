import itertools
import json
import pickle

import pytest

from factory.config import Alarms
from factory.population.alarm_lines import lower_bound, raised_alarms, reject_ratio
from factory.population.cast_figures import LONG_ITEMS, BandCounts, CastFigures, long_texts, text_bands
from factory.population.hash_sample import HashSample, sample_keys
from factory.population.strata_counts import MAX_STRATA, StrataCounts
from factory.population.word_moments import DIMENSIONS, WordMoments
from tests.drawn_cast import copied, profile, table_of, templated

ROWS = 300


def cast_of(rows, limit=4096):
    cast = CastFigures(sample=HashSample(limit))
    cast.add(table_of(rows))
    return cast


def figures_of(rows, parts=1, limit=4096, order=None):
    casts = [cast_of(rows[part::parts], limit) for part in range(parts)]
    casts = [casts[number] for number in order or range(parts)]
    cast = casts[0]
    for other in casts[1:]:
        cast = pickle.loads(pickle.dumps(cast)) + other
    bands = [BandCounts.of(cast.sampled_bands()) for _ in range(parts)]
    for part, counts in enumerate(bands):
        counts.add(text_bands(long_texts(table_of([row for row in rows[part::parts] if row["status"] == "ok"]))))
    total = bands[0]
    for counts in bands[1:]:
        total = total + counts
    return cast.to_manifest(total)


def alarms_of(rows):
    return {line.partition("(alarms.")[2].partition(":")[0] for line in raised_alarms(figures_of(rows), Alarms())}


@pytest.mark.parametrize("limit", [4096, 50], ids=["all", "sampled"])
def test_any_order_and_partition_gives_the_same_figures(limit):
    rows = [copied(number) for number in range(120)]
    whole = figures_of(rows, limit=limit)
    assert whole["sampled"] == min(limit, 120)
    for parts in (2, 3):
        for order in itertools.permutations(range(parts)):
            assert figures_of(rows, parts, limit, order) == whole


@pytest.mark.parametrize("script", ["Latin", "Hangul", "Han"])
@pytest.mark.parametrize("rows", [32, ROWS])
def test_a_varied_cast_raises_no_alarm(script, rows):
    assert alarms_of([profile(number, script) for number in range(rows)]) == set()


@pytest.mark.parametrize(
    ("make", "raised"),
    [
        (templated, {"effective_ratio"}),
        (copied, {"near_duplicates"}),
        (lambda number: profile(number) | ({"birth_place": "New York"} if number % 3 else {}), {"birth_place"}),
        (lambda number: profile(number) | ({"name": "Sarah Chen"} if number % 20 == 0 else {}), {"full_name"}),
        (
            lambda number: profile(number) | {"status": "rejected" if "immoral" in json_strata(number) else "ok"},
            {"stratum_rejects"},
        ),
    ],
    ids=["template", "half copies", "birth place", "name", "stratum"],
)
def test_a_collapse_raises_its_own_alarm_alone(make, raised):
    assert alarms_of([make(number) for number in range(ROWS)]) == raised


def json_strata(number):
    return json.loads(str(profile(number)["strata"]))["disposition"] * (number % 3 > 0)


def test_an_alarm_that_is_off_stays_silent():
    rows = [copied(number) for number in range(ROWS)]
    assert raised_alarms(figures_of(rows), Alarms(near_duplicates=None)) == []


@pytest.mark.parametrize(("of", "fewest"), [(24, 9), (32, 10), (1000, 131)])
def test_a_birth_place_alarms_beyond_chance_only(of, fewest):
    def lines(number):
        return raised_alarms({"top": {"birth_place": {"of": of, "values": [["rome", number]]}}}, Alarms())

    assert lines(fewest)
    assert lines(fewest - 1) == []


def test_two_of_32_names_are_no_alarm_and_four_are():
    def lines(number):
        return raised_alarms({"top": {"full_name": {"of": 32, "values": [["ann lee", number]]}}}, Alarms())

    assert lines(2) == lines(3) == []
    (line,) = lines(4)
    assert "4 of 32 (12.5%) have the full name 'ann lee' (alarms.full_name: 0.5%)" in line


def test_bounds_are_below_the_estimate():
    assert lower_bound(0, 10) == 0
    assert lower_bound(5, 10) == pytest.approx(0.1504, abs=1e-4)  # the table of Clopper and Pearson, 98 % two-sided
    ratio, low = reject_ratio((50, 50), (90, 10), 0.01)
    assert 2 < low < 5 < ratio + 0.5
    assert reject_ratio((4, 4), (20, 4), 0.01)[1] < 1


def test_sampled_near_duplicates_are_found_among_all_rows():
    rows = [copied(number) for number in range(ROWS)]
    found = figures_of(rows, limit=100)["near_duplicates"]
    keys = sorted((key, number) for number, key in enumerate(sample_keys_of(rows)))[:100]
    assert found == {"number": sum(number % 2 for _, number in keys), "of": 100}


def sample_keys_of(rows):
    import numpy as np

    return sample_keys(np.array([int(row["character_id"], 16) for row in rows], np.uint64))


def test_state_does_not_grow_with_rows():
    people = [profile(number) for number in range(500)]
    rows = table_of([one | dict.fromkeys(LONG_ITEMS, one["persona"]) for one in people])
    cast, sizes = CastFigures(sample=HashSample(512)), []
    for number in range(40):
        ids = [f"{(number * 500 + one) * 0x9E3779B97F4A7C15 % 2**64:016x}" for one in range(500)]
        cast.add(rows.set_column(0, "character_id", [ids]))
        if number in (19, 39):
            cast.sample.prune()
            sizes.append(len(pickle.dumps(cast)))
    assert cast.rows == 20_000
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)
    assert sizes[1] < 1_300_000


def test_a_thousand_strata_at_most_are_counted_whatever_the_order():
    texts = [json.dumps({"language": f"of {number}"}) for number in range(3 * MAX_STRATA)]
    parts = []
    for start in range(3):
        counts = StrataCounts()
        counts.add(texts[start::3], [True] * MAX_STRATA)
        counts.add(texts[:50], [False] * 50)
        parts.append(counts)
    one, two = parts[0] + parts[1] + parts[2], parts[2] + (parts[1] + parts[0])
    assert one.counts == two.counts
    assert len(one.counts) == MAX_STRATA


def test_effective_number_is_that_of_the_distinct_texts():
    moments = WordMoments()
    moments.add([str(profile(number % 10)["persona"]) for number in range(500)])
    assert moments.effective() == pytest.approx(10, rel=0.1)
    moments.add(["", "..."])
    assert moments.rows == 500
    assert WordMoments().effective() == 0
    assert DIMENSIONS**2 * 8 == 512 << 10


def test_profiles_without_texts_are_no_near_duplicates():
    rows = [profile(n) | {"appearance": "", "experience": None, "personality": ""} for n in range(300)]
    figures = figures_of(rows)
    assert figures["near_duplicates"] == {"number": 0, "of": 0}
    assert raised_alarms(figures, Alarms()) == []


def test_a_sample_has_the_lowest_hashes_and_at_most_twice_its_limit():
    keys = [number * 0x9E3779B97F4A7C15 % 2**64 for number in range(1, 5001)]
    parts = []
    for start in range(3):
        sample = HashSample(100)
        for key in keys[start::3]:
            sample.add(key, key)
            assert len(sample.rows) < 200
        parts.append(sample)
    for one, two, three in itertools.permutations(parts):
        merged = one + two + three
        assert len(merged.rows) < 200
        assert merged.values() == sorted(keys)[:100]
