"""The rules for generated profiles: on 60 good ones in six scripts, and with a defect injected into each of them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.inference.prompts import load_prompt
from factory.records import Completion, Persona, Profile, ProfileFields, Reject
from factory.synthesis.profile_rules.long_items import bound, prompt_ngrams
from factory.synthesis.profile_rules.profile_check import PROMPT_ECHO, RULES, broken_rules
from factory.synthesis.profile_rules.sentence_endings import SENTENCES, end_with_sentences
from factory.synthesis.profiles import ProfileCheck, parse_profile, prompt_text, render_profile

GOOD = [json.loads(line) for line in (Path(__file__).parents[1] / "profiles/good.jsonl").read_text().splitlines()]
"""Ten of each script family, written before the rules were tried on them."""
SCRIPTS = ["Latin", "Hangul", "Han", "Arabic", "Devanagari", "Thai"]
ITEMS = list(ProfileFields.model_fields)
PLACEHOLDERS = {
    "English": "Not specified.", "Spanish": "desconocido", "German": "Unbekannt", "French": "inconnue",
    "Polish": "nieznana", "Turkish": "bilinmiyor", "Vietnamese": "không rõ", "Portuguese": "não informado",
    "Korean": "미상", "Chinese": "不详", "Japanese": "不明", "Arabic": "غير معروف", "Persian": "نامشخص",
    "Hindi": "अज्ञात", "Marathi": "अज्ञात", "Thai": "ไม่ระบุ",
}  # fmt: skip


@pytest.fixture(scope="module")
def prompt() -> np.ndarray:
    return prompt_ngrams(prompt_text(load_prompt("profile")))


def found(profile: dict[str, str], prompt: np.ndarray) -> dict[str, str]:
    items = {name: " ".join(profile[name].split()) for name in ITEMS}
    return dict(broken_rules(items, profile["persona"], profile["language"], prompt))


def test_there_are_ten_profiles_of_each_script():
    assert [profile["script"] for profile in GOOD] == [script for script in SCRIPTS for _ in range(10)]
    assert all(len(profile[name]) < bound(name) for profile in GOOD for name in ("appearance", "experience"))


def test_at_most_one_of_sixty_good_profiles_is_rejected(prompt):
    rejected = {profile["name"]: rules for profile in GOOD if (rules := found(profile, prompt))}
    assert len(rejected) <= 1, rejected


def other(profile: dict[str, str]) -> dict[str, str]:
    """Return the next profile in another script."""
    place = GOOD.index(profile)
    return GOOD[(place + 10) % len(GOOD)]


def first_sentence(text: str, script: str) -> str:
    ends = [text.find(end) + 1 for end in ".!।。" if end in text]
    return text[: min(ends)] if ends and script != "Thai" else text[:40]


def padded(profile: dict[str, str], name: str) -> str:
    """Return an item as a bound cuts it: text of the same language up to the bound."""
    same = [each[name] for each in GOOD if each["script"] == profile["script"] and each is not profile]
    return " ".join([profile[name], *same])[: bound(name)]


DEFECTS: dict[str, Callable[[dict[str, str]], dict[str, str] | None]] = {
    "a placeholder as the birth place": lambda p: {"birth_place": PLACEHOLDERS[p["language"]]},
    "a placeholder in brackets": lambda p: {"name": "[Name]"},
    "the persona as the name": lambda p: {"name": p["persona"].rstrip(".")},
    "a sentence as the name": lambda p: {"name": p["experience"]},
    "no age": lambda p: {"age": "0"},
    "thin": lambda p: {"personality": p["personality"][: 5 if p["script"] in ("Han", "Thai") else 9]},
    "cut in mid-word": lambda p: None if p["script"] == "Thai" else {"experience": p["experience"][:-4]},
    "cut by the bound": lambda p: {"experience": padded(p, "experience")},
    "one item twice": lambda p: {"personality": p["experience"]},
    "two items in one": lambda p: {"personality": f"{p['personality']} {p['experience']}"},
    "a loop": lambda p: {"experience": " ".join([first_sentence(p["experience"], p["script"])] * 6)},
    "letters of another script": lambda p: {
        "appearance": f"{p['appearance'][:-1]} {'яркий свет окна' if p['script'] != 'Latin' else '他的眼睛很亮'}."
    },
    "another language": lambda p: {name: other(p)[name] for name in ("appearance", "experience", "personality")},
    "the prompt": lambda p: {"experience": "Three sentences on schooling, work and turning points. Be specific."},
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_injected_defects_are_caught(prompt, defect):
    spoiled = [profile | change for profile in GOOD if (change := DEFECTS[defect](profile))]
    missed = [profile["name"] for profile in spoiled if not found(profile, prompt)]
    assert len(spoiled) >= 50
    assert len(missed) <= 0.05 * len(spoiled), missed


ENGLISH = GOOD[0]


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("gender_clash", {"gender": "male"}),
        ("age_clash", {"persona": "A 25-year-old cook.", "age": "52"}),
        ("age_clash", {"experience": "She has cooked on ferries for 60 years. It was hard at times, she says."}),
        ("no_age", {"age": "old enough"}),
        ("not_a_name", {"name": "a cook on a ferry"}),
        ("not_a_name", {"name": "maura tiernan"}),
        ("about_nobody", {
            "appearance": "The sea is grey in winter and green in summer.",
            "experience": "Ferries cross the sea every day of the year. Most of them carry lorries and cheese.",
            "personality": "Ferries are loud and slow, and smell of oil.",
        }),
        ("wrong_language", {name: GOOD[3][name] for name in ("appearance", "experience", "personality")}),
        ("foreign_letters", {name: GOOD[20][name] for name in ("appearance", "experience", "personality")}),
        ("name_is_persona", {"name": ENGLISH["persona"].rstrip(".")}),
        ("name_is_persona", {"name": "Anxious Planetarium Presenter", "persona": "An anxious planetarium presenter."}),
        ("name_is_persona", {"name": "Goat Herder", "persona": "Goat herder by day, he talks to strangers by radio."}),
        ("placeholder", {"race": "N/A"}),
        ("thin", {"experience": "Works hard."}),
        ("cut_off", {"personality": ENGLISH["personality"] + " She is afrai"}),
        ("said_twice", {"personality": ENGLISH["appearance"]}),
        ("loop", {"experience": "She went to the sea and back. " * 8}),
        (PROMPT_ECHO, {"personality": "Two sentences on temperament, habits and way of speaking."}),
    ],
)  # fmt: skip
def test_rule_finds_its_defect(prompt, reason, change):
    assert reason in found(ENGLISH | change, prompt)


def test_a_name_in_a_persona_of_lower_case_may_be_one(prompt):
    persona = "a nurse named ada oduya who works night shifts in lagos"
    assert "name_is_persona" not in found(ENGLISH | {"name": "Ada Oduya", "persona": persona}, prompt)


def test_every_rule_has_a_case():
    (mark,) = test_rule_finds_its_defect.pytestmark
    assert {reason for reason, _ in mark.args[1]} == {*RULES, PROMPT_ECHO}


@pytest.mark.parametrize(
    ("name", "age"),
    [
        ("Dr. Anil Deshpande", "61"), ("A. J. P. Fairweather", "sixty-four"), ("Unit 7-Gamma", "3 years"),
        ("Tito", "9 years, in 1911"), ("bell Hooks", "44"), ("María José de la Cruz y Ortega", "30s"),
        ("Jean-Luc d'Arbeville", "in his 50s"), ("Kurt (\"Bomber\") Lang", "19"),
    ],
)  # fmt: skip
def test_unusual_names_and_ages_are_accepted(prompt, name, age):
    broken = found(ENGLISH | {"name": name, "age": age}, prompt)
    assert not {"not_a_name", "no_age", "name_is_persona", "placeholder"} & {*broken}


@pytest.mark.parametrize(
    "age",
    ["about 900", "200 years", "4,500", "two thousand years", "ageless", "three centuries", "an eon", "1,200 or so"],
)
def test_characters_that_are_not_human_may_be_of_any_age(prompt, age):
    assert "no_age" not in found(ENGLISH | {"age": age}, prompt)


@pytest.mark.parametrize(
    ("name", "persona"),
    [
        ("Rose Baker", "A baker in a small town who grows a rose on her balcony."),
        ("Rose Baker", "Rose Baker, a baker, sells bread in a small town."),
        ("Rose Baker", "Rose Baker is a rose baker."),
        ("Will Power", "An athlete of great will, power and patience named Will Power."),
        ("Sage Woods", "A hermit who gathers sage in the woods."),
        ("Mo", "A man called mo by everybody."),
        ("王小明", "退休教师王小明"),
    ],
)
def test_names_of_words_in_the_persona_are_accepted(prompt, name, persona):
    assert "name_is_persona" not in found(ENGLISH | {"name": name, "persona": persona}, prompt)


def parse(profile: dict[str, str], mode: str) -> Profile | Reject:
    reply = json.dumps({name: profile[name] for name in ITEMS})
    check = ProfileCheck(mode, prompt_text(load_prompt("profile")))
    persona = Persona("c", profile["persona"])
    return parse_profile(profile["language"], persona, Completion((reply,)), check=check)


def test_broken_rule_rejects_marks_or_does_nothing():
    spoiled = ENGLISH | {"race": "unknown", "personality": "Kind."}
    rejected = parse(spoiled, "reject")
    assert isinstance(rejected, Reject)
    assert rejected.reason == "placeholder"
    assert rejected.detail.startswith("race: unknown\n\n{")
    flagged, plain = parse(spoiled, "flag"), parse(spoiled, "off")
    assert isinstance(flagged, Profile)
    assert isinstance(plain, Profile)
    assert (flagged.flags, plain.flags) == ("placeholder, thin", None)
    assert parse(ENGLISH, "reject") == parse(ENGLISH, "off")


def test_guided_items_end_as_sentences_except_where_languages_have_no_full_stop():
    import re

    for profile in GOOD:
        matches = [bool(re.match(SENTENCES, profile[name])) for name in ("appearance", "experience", "personality")]
        assert all(matches) or profile["script"] == "Thai", profile["name"]
    assert not re.match(SENTENCES, "She studied in Rome and then wo")
    schema = load_prompt("profile").schema
    assert json.loads(end_with_sentences(schema, "Korean"))["properties"]["experience"]["pattern"] == SENTENCES
    assert end_with_sentences(schema, "Thai") == schema
    plain = render_profile(load_prompt("profile"), "English", Persona("c", "a baker"))
    assert plain.schema == schema
