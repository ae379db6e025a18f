"""The report's section on safety: dialogues left out, balance of the characters, stereotypes."""

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from factory.config import Safety
from factory.report.gather import gather
from factory.report.profile_counts import ProfileCounts
from factory.report.sections import people
from factory.report.sections.balance import balance_rows, is_unspecified
from factory.report.sections.stereotypes import fightin_words, stereotype_pairs
from factory.run_output.folder import open_folder
from tests.made_run import make_run

WORDS = [f"trait{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst"]


def unspecified_in(attribute: str, *personas: str | None) -> list[bool]:
    return is_unspecified(pa.chunked_array([pa.array(personas, pa.string())]), attribute).to_pylist()


@pytest.mark.parametrize(
    ("attribute", "specifying", "open_"),
    [
        ("gender", "a mother of two who bakes", "a human resources manager of the town who manages the theory"),
        ("gender", "the baker and his oven", "a shepherd with a hen and a thesis on mangoes"),
        ("age", "a retired nurse with a boat", "a nurse with a boat and the storage of it"),
        ("age", "a 34-year-old baker of bread", "the baker of 34 kinds of bread"),
        ("race", "a Korean chef with a truck", "a chef with a truck of corn"),
        ("race", "a chef of Black history and food", "the blacksmith of a town"),
    ],
)
def test_personas_that_specify_an_attribute(attribute, specifying, open_):
    assert unspecified_in(attribute, specifying, open_, None) == [False, True, False]


def test_personas_in_other_languages_are_left_out():
    assert unspecified_in("gender", "빵을 굽는 사람", "un panadero que canta", "", "\0", "a" * 100_000) == [False] * 5
    assert unspecified_in("gender", "the " + "x " * 50_000) == [True]


def test_shares_have_intervals():
    unspecified = {"gender": Counter(female=30, male=10), "race": Counter(), "age": Counter({"100-109": 1, "20-29": 3})}
    everyone = {"gender": Counter(female=50, male=50), "race": Counter(white=5), "age": Counter({"20-29": 4})}
    gender, race, age = balance_rows(unspecified, everyone, {"gender": "Gender", "race": "Race", "age": "Age"})
    first = gender["rows"][0]
    assert (first["value"], first["number"], first["share"], first["all"]) == ("female", 30, 0.75, 0.5)
    assert (round(first["low"], 3), round(first["high"], 3)) == (0.598, 0.858)  # Wilson's, as tables have it
    assert (race["rows"], race["unspecified"], race["everyone"]) == ([], 0, 5)
    assert [row["value"] for row in age["rows"]] == ["20-29", "100-109"]


def test_log_odds_are_zero_for_equal_groups():
    log_odds, z = fightin_words(np.array([10, 20, 400]), np.array([10, 20, 400]))
    assert np.allclose(log_odds, 0)
    log_odds, z = fightin_words(np.array([600, 200, 4000]), np.array([100, 200, 4000]))
    assert log_odds[0] > 1
    assert z[0] > 4 > abs(z[1])


def character(gender: str, words: list[str]) -> dict:
    items = {"name": "Ada Oduya", "race": "Black", "birth_place": "Lagos", "language": "English"}
    return {"persona": "the one who works", "personality": " ".join(words), "gender": gender, **items}


def drawn(seed: int, more: dict[str, str]) -> list[dict]:
    """Return characters of two genders with random words, and one more word of each gender in a third of them."""
    draw = random.Random(seed)
    profiles = []
    for _ in range(600):
        gender = draw.choice(["female", "male"])
        own = [more[gender]] if gender in more and draw.random() < 1 / 3 else []
        profiles.append(character(gender, draw.sample(WORDS, 8) + own))
    return profiles


def pairs_in(profiles: list[dict], least: int = 10) -> dict:
    return stereotype_pairs(profiles, {"gender": [True] * len(profiles), "race": [True] * len(profiles)}, least, 0.05)


def test_words_by_chance_are_no_stereotypes():
    assert sum(bool(pairs_in(drawn(seed, {}))["pairs"]) for seed in range(20)) <= 2


def test_only_words_correlated_with_a_gender_are_listed():
    result = pairs_in(drawn(1, {"female": "nurturing", "male": "stoic"}))
    assert {(one["word"], one["group"]) for one in result["pairs"]} == {("nurturing", "female"), ("stoic", "male")}
    first = result["pairs"][0]
    assert first["z"] >= result["threshold"]
    assert first["with"] > first["without"] == 0
    assert first["inside"] + first["outside"] == 600
    assert result["tested"] == 2 * (len(WORDS) + 3)  # two of their own, and `works` of the persona


def test_spellings_of_one_group_are_merged():
    draw, ways = random.Random(3), {"female": ["Female", "F.", "females"], "male": ["male", "M", "Male,"]}
    profiles = [one | {"gender": draw.choice(ways[one["gender"]])} for one in drawn(1, {"female": "nurturing"})]
    (pair,) = pairs_in(profiles)["pairs"]
    assert (pair["group"], pair["inside"] + pair["outside"]) == ("female", 600)
    assert pair["without"] == 0


def test_grammar_and_own_items_are_no_stereotypes():
    profiles = [character("female", ["She", "loves", "her", "female", "Lagos."]) for _ in range(50)]
    profiles += [character("male", ["He", "loves", "his", "male", "Lagos."]) for _ in range(50)]
    assert pairs_in(profiles)["pairs"] == []


def test_too_few_characters_have_no_pairs():
    assert pairs_in([])["tested"] == 0
    assert pairs_in([character("female", ["kind"]), character("male", ["stern"])])["pairs"] == []
    assert pairs_in(drawn(1, {"female": "nurturing"}), least=1000) == {
        "tested": 0, "threshold": 1.64, "characters": {"gender": 600, "race": 600}, "found": 0, "pairs": [],
    }  # fmt: skip


def test_safety_checks_count_what_was_left_out(tmp_path):
    folder = open_folder(make_run(str(tmp_path / "run")), "make synthesize")
    sample = gather(folder, str, stereotype_profiles=30)
    checks = people.safety_checks(folder, sample)
    assert checks["finished"]
    assert checks["settings"]["toxicity"] == 0.9
    curated = {name: one for name, one in folder.tables.items() if name.startswith("curated/")}
    for one in checks["reasons"]:
        assert one["rows"] == sum(table.rejected.get(one["reason"], 0) for table in curated.values()) > 0
        assert one["examples"]
        assert all("Feed it" not in example["found"] for example in one["examples"])
    assert len(sample.stereotype_profiles) == 30
    assert people.stereotype_data(sample.stereotype_profiles, Safety(), str)["profiles"] == 30
    gender, *_ = people.attribute_balance(sample.profiles, str)
    assert gender["everyone"] == sample.profiles.statuses.ok > gender["unspecified"] > 0


def test_safety_is_empty_without_curation_or_profiles(tmp_path):
    folder = open_folder(make_run(str(tmp_path / "run")), "make synthesize")
    folder.tables = {name: one for name, one in folder.tables.items() if name == "personas"}
    sample = gather(folder, str)
    assert people.safety_checks(folder, sample) == {}
    assert people.attribute_balance(ProfileCounts(), str) == []
    assert people.stereotype_data(sample.stereotype_profiles, Safety(), str) == {}
