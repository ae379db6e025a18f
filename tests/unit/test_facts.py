"""Facts, drawn traits and languages of personas, and whether a profile keeps the facts."""

import json
from collections import Counter

import pytest

from factory.config.cast import Quota
from factory.config.synthesis import Personas
from factory.inference.prompts import load_prompt
from factory.records import Completion, Persona, Profile, Reject
from factory.synthesis.facts import draw, find_lost_fact, stratum_of
from factory.synthesis.personas import cast_columns, read_cast_member
from factory.synthesis.profiles import parse_profile, render_profile
from tests.made_people import made_person

FACTS = {"age": "age", "gender": "sex", "occupation": "occupation"}
ITEMS = {
    "name": "Ada Oduya", "age": "34 years", "gender": "female", "race": "Black", "birth_place": "Toledo, Spain",
    "appearance": "Tall.", "experience": "She develops software.", "personality": "Warm.",
}  # fmt: skip


def settings(**changed) -> Personas:
    """Return the settings of personas."""
    return Personas.model_validate({"source": "x", **changed})


def test_plain_settings_change_nothing():
    person = made_person(1)
    assert settings().cast == {}
    assert cast_columns(settings()) == ("persona",)
    plain = read_cast_member(person, settings())
    assert plain == Persona(plain.character_id, person["persona"])
    assert read_cast_member("a baker", settings()) == read_cast_member({"persona": "a baker"}, settings())
    request = render_profile(load_prompt("profile"), "English", plain)
    assert request.messages[1].content == f"The person:\n{person['persona']}"


def test_facts_are_in_the_prompt_as_fixed():
    persona = read_cast_member(made_person(1, occupation="bus_driver", age=34.0), settings(facts=FACTS))
    assert json.loads(persona.facts) | {"gender": ""} == {"age": "34", "gender": "", "occupation": "bus driver"}
    request = render_profile(load_prompt("profile-facts"), "English", persona)
    assert "Fixed:\n- age: 34\n- gender: " in request.messages[1].content
    assert request.messages[1].content.endswith("- occupation: bus driver")


def test_ids_come_from_persona_facts_and_language():
    chosen = settings(facts=FACTS)
    ids = [read_cast_member(made_person(1, age=age), chosen).character_id for age in (30, 31, 31)]
    assert ids[0] != ids[1] == ids[2]
    by_column = settings(language={"column": "country"})
    ids = [read_cast_member(made_person(1, country=name), by_column).character_id for name in ("Korean", "English")]
    assert len(set(ids)) == 2
    unique = settings(unique="uuid")
    same = [read_cast_member(made_person(1, persona=text), unique).character_id for text in ("a baker", "a nurse")]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"age": None}, "empty_field"),
        ({"sex": " "}, "empty_field"),
        ({"occupation": ["a"]}, "empty_field"),
        ({"occupation": "a " * 2000}, "too_long"),
        ({"occupation": "a\0"}, "invalid_text"),
    ],
)
def test_a_row_without_a_fact_is_rejected(changed, reason):
    found = read_cast_member(made_person(1, **changed), settings(facts=FACTS))
    assert isinstance(found, Reject)
    assert found.reason == reason
    without = {name: value for name, value in made_person(1).items() if name != "sex"}
    assert read_cast_member(without, settings(facts=FACTS)).reason == "missing_column"
    assert read_cast_member("a baker", settings(facts=FACTS)).reason == "missing_column"


@pytest.mark.parametrize(
    ("facts", "lost"),
    [
        ({"age": "34", "gender": "Female", "birth_place": "Toledo"}, None),
        ({"age": "4"}, "age is '4', not '34 years'"),
        ({"age": "33"}, "age is '33'"),
        ({"gender": "Male"}, "gender is 'Male', not 'female'"),
        ({"birth_place": "Toledo Ohio"}, "birth_place"),
        ({"occupation": "software developer"}, None),
        ({"occupation": "software tester"}, "occupation is 'software tester' and is not in the profile"),
        ({"city": "서울"}, "city"),
    ],
)
def test_lost_facts_are_found(facts, lost):
    found = find_lost_fact(facts, ITEMS)
    assert found is None if lost is None else found.startswith(lost)


def test_a_fact_is_found_in_scripts_without_spaces():
    items = ITEMS | {"birth_place": "대한민국 서울특별시", "experience": "她在一所小学当老师。"}
    assert find_lost_fact({"birth_place": "서울", "occupation": "老师"}, items) is None
    assert find_lost_fact({"birth_place": "부산"}, items)


def test_a_profile_that_loses_a_fact_is_rejected():
    persona = Persona("0" * 16, "a baker", facts=json.dumps({"age": "35", "disposition": "immoral"}), language="Korean")
    reply = Completion((json.dumps(ITEMS),))
    found = parse_profile("English", persona, reply, ("age",))
    assert isinstance(found, Reject)
    assert found.reason == "fact_lost"
    assert found.detail.startswith("age is '35', not '34 years'\n\n{")
    kept = parse_profile("English", persona, reply, ())
    assert isinstance(kept, Profile)
    assert kept.language == "Korean"


def test_traits_and_languages_are_drawn_by_their_weights():
    chosen = settings(
        draw={
            "disposition": {"moral": 8, "ambiguous": 1.5, "immoral": 0.5},
            "temperament": {"calm": 1, "irritable": 1},
        },
        language={"weights": {"Korean": 3, "English": 1}},
    )
    people = [read_cast_member(made_person(number), chosen) for number in range(4000)]
    facts = [json.loads(person.facts) for person in people]
    moral = Counter(one["disposition"] for one in facts)
    assert moral["moral"] / 4000 == pytest.approx(0.8, abs=0.02)
    assert moral["immoral"] / 4000 == pytest.approx(0.05, abs=0.01)
    both = Counter((one["disposition"], one["temperament"]) for one in facts)
    assert both["moral", "calm"] / moral["moral"] == pytest.approx(0.5, abs=0.03)
    languages = Counter(person.language for person in people)
    assert languages["Korean"] / 4000 == pytest.approx(0.75, abs=0.02)
    assert [read_cast_member(made_person(number), chosen) for number in range(50)] == people[:50]
    assert draw("0" * 16, "x", {"a": 1.0}) == "a"


def test_the_language_of_a_persona_is_detected():
    chosen = settings(language="detect")
    texts = {
        "Korean": "서울에서 빵을 굽는 제빵사",
        "German": "Eine Bäckerin aus Köln, die nachts Brot für die Stadt backt.",
    }
    assert {name: read_cast_member({"persona": text}, chosen).language for name, text in texts.items()} == {
        name: name for name in texts
    }


@pytest.mark.parametrize(
    ("text", "stratum"),
    [("18", "18-30"), ("29.9", "18-30"), ("30", "30-45"), ("45", None), ("17", None), ("old", None), ("nan", None)],
)
def test_a_number_is_in_one_band(text, stratum):
    assert stratum_of(text, Quota(by="age", bands=(18, 30, 45))) == stratum


def test_a_row_without_a_share_is_over_its_quota():
    chosen = settings(quotas=[{"by": "sex", "shares": {"female": 1, "male": 1}}])
    assert json.loads(read_cast_member(made_person(1, sex="FEMALE"), chosen).strata) == {"sex": "female"}
    found = read_cast_member(made_person(1, sex="x"), chosen)
    assert (found.reason, found.detail) == ("over_quota", "sex is 'x', which has no share")
