"""The report's section on safety: what was left out, who the characters are, which words go with whom."""

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from factory.config import Safety
from factory.report.gather import gather
from factory.report.profile_counts import ProfileCounts
from factory.report.sections import people
from factory.report.sections.balance import asks_nothing, shown_balance
from factory.report.sections.stereotypes import fightin_words, stereotype_pairs
from factory.run_output.folder import open_folder
from tests.made_run import make_run

WORDS = [f"trait{letter}{other}" for letter in "abcdefghij" for other in "klmnopqrst"]


def opens(attribute: str, *personas: str | None) -> list[bool]:
    return asks_nothing(pa.chunked_array([pa.array(personas, pa.string())]), attribute).to_pylist()


@pytest.mark.parametrize(
    ("attribute", "asking", "open_"),
    [
        ("gender", "a mother of two who bakes", "a human resources manager of the town who manages the theory"),
        ("gender", "the baker and his oven", "a shepherd with a hen and a thesis on mangoes"),
        ("age", "a retired nurse with a boat", "a nurse with a boat and the storage of it"),
        ("age", "a 34-year-old baker of bread", "the baker of 34 kinds of bread"),
        ("race", "a Korean chef with a truck", "a chef with a truck of corn"),
        ("race", "a chef of Black history and food", "the blacksmith of a town"),
    ],
)
def test_personas_that_ask_are_told_from_those_that_leave_it_open(attribute, asking, open_):
    assert opens(attribute, asking, open_, None) == [False, True, False]


def test_personas_of_other_languages_are_left_out():
    assert opens("gender", "빵을 굽는 사람", "un panadero que canta", "", "\0", "a" * 100_000) == [False] * 5
    assert opens("gender", "the " + "x " * 50_000) == [True]


def test_shares_have_intervals_and_stand_beside_those_of_all():
    unasked = {"gender": Counter(female=30, male=10), "race": Counter(), "age": Counter({"100-109": 1, "20-29": 3})}
    everyone = {"gender": Counter(female=50, male=50), "race": Counter(white=5), "age": Counter({"20-29": 4})}
    gender, race, age = shown_balance(unasked, everyone, {"gender": "Gender", "race": "Race", "age": "Age"})
    first = gender["rows"][0]
    assert (first["value"], first["number"], first["share"], first["all"]) == ("female", 30, 0.75, 0.5)
    assert (round(first["low"], 3), round(first["high"], 3)) == (0.598, 0.858)  # Wilson's, as tables have it
    assert (race["rows"], race["unasked"], race["everyone"]) == ([], 0, 5)
    assert [row["value"] for row in age["rows"]] == ["20-29", "100-109"]


def test_log_odds_are_none_where_both_groups_speak_alike():
    log_odds, z = fightin_words(np.array([10, 20, 400]), np.array([10, 20, 400]))
    assert np.allclose(log_odds, 0)
    log_odds, z = fightin_words(np.array([600, 200, 4000]), np.array([100, 200, 4000]))
    assert log_odds[0] > 1
    assert z[0] > 4 > abs(z[1])


def character(gender: str, words: list[str]) -> dict:
    items = {"name": "Ada Oduya", "race": "Black", "birth_place": "Lagos", "language": "English"}
    return {"persona": "the one who works", "personality": " ".join(words), "gender": gender, **items}


def drawn(seed: int, more: dict[str, str]) -> list[dict]:
    """Characters of two genders with words by chance, and one more word of each gender in a third of them."""
    draw = random.Random(seed)
    cast = []
    for _ in range(600):
        gender = draw.choice(["female", "male"])
        own = [more[gender]] if gender in more and draw.random() < 1 / 3 else []
        cast.append(character(gender, draw.sample(WORDS, 8) + own))
    return cast


def found(cast: list[dict], least: int = 10) -> dict:
    return stereotype_pairs(cast, {"gender": [True] * len(cast), "race": [True] * len(cast)}, least, 0.05)


def test_words_by_chance_are_no_stereotypes():
    assert sum(bool(found(drawn(seed, {}))["pairs"]) for seed in range(20)) <= 2


def test_a_word_that_goes_with_a_gender_is_listed_and_no_other():
    told = found(drawn(1, {"female": "nurturing", "male": "stoic"}))
    assert {(one["word"], one["group"]) for one in told["pairs"]} == {("nurturing", "female"), ("stoic", "male")}
    first = told["pairs"][0]
    assert first["z"] >= told["beyond"]
    assert first["with"] > first["without"] == 0
    assert first["inside"] + first["outside"] == 600
    assert told["looked"] == 2 * (len(WORDS) + 3)  # two of their own, and `works` of the persona


def test_one_group_written_in_several_ways_is_one():
    draw, ways = random.Random(3), {"female": ["Female", "F.", "females"], "male": ["male", "M", "Male,"]}
    cast = [one | {"gender": draw.choice(ways[one["gender"]])} for one in drawn(1, {"female": "nurturing"})]
    (pair,) = found(cast)["pairs"]
    assert (pair["group"], pair["inside"] + pair["outside"]) == ("female", 600)
    assert pair["without"] == 0


def test_grammar_and_a_characters_own_items_are_no_stereotypes():
    cast = [character("female", ["She", "loves", "her", "female", "Lagos."]) for _ in range(50)]
    cast += [character("male", ["He", "loves", "his", "male", "Lagos."]) for _ in range(50)]
    assert found(cast)["pairs"] == []


def test_too_few_characters_tell_nothing():
    assert found([])["looked"] == 0
    assert found([character("female", ["kind"]), character("male", ["stern"])])["pairs"] == []
    assert found(drawn(1, {"female": "nurturing"}), least=1000) == {
        "looked": 0, "beyond": 1.64, "characters": {"gender": 600, "race": 600}, "found": 0, "pairs": [],
    }  # fmt: skip


def test_the_gate_tells_what_was_asked_and_left_out(tmp_path):
    folder = open_folder(make_run(str(tmp_path / "run")), "make synthesize")
    sample = gather(folder, str, cast=30)
    told = people.shown_gate(folder, sample)
    assert told["finished"]
    assert told["settings"]["toxicity"] == 0.9
    curated = {name: one for name, one in folder.tables.items() if name.startswith("curated/")}
    for one in told["reasons"]:
        assert one["rows"] == sum(table.rejected.get(one["reason"], 0) for table in curated.values()) > 0
        assert one["examples"]
        assert all("Feed it" not in example["found"] for example in one["examples"])
    assert len(sample.cast) == 30
    assert people.shown_stereotypes(sample.cast, Safety(), str)["cast"] == 30
    gender, *_ = people.shown_balances(sample.profiles, str)
    assert gender["everyone"] == sample.profiles.tally.ok > gender["unasked"] > 0


def test_without_curation_or_profiles_there_is_nothing_to_tell(tmp_path):
    folder = open_folder(make_run(str(tmp_path / "run")), "make synthesize")
    folder.tables = {name: one for name, one in folder.tables.items() if name == "personas"}
    sample = gather(folder, str)
    assert people.shown_gate(folder, sample) == {}
    assert people.shown_balances(ProfileCounts(), str) == []
    assert people.shown_stereotypes(sample.cast, Safety(), str) == {}
