"""Given profiles: rows of tables."""

import pytest

from factory.records import Profile, Reject
from factory.synthesis.given.given_rows import read_given
from factory.synthesis.profiles import LABELS, profile_text
from tests.made_cards import made_profile


@pytest.mark.parametrize("number", range(7))
def test_a_row_is_a_given_profile(number):
    row = made_profile(number)
    profile = read_given(row, "English")
    assert isinstance(profile, Profile)
    assert {name: getattr(profile, name) for name in row} == row
    assert profile.profile == profile_text(row)
    assert (profile.origin, profile.card) == ("given", None)


def test_ids_come_from_the_content():
    row = made_profile(1)
    first = read_given(row, "English")
    again = read_given({**row, "uuid": 7, "persona": f" {row['persona']}\n"}, "Korean")
    assert first == again
    changed = [read_given({**row, name: "other"}, "English") for name in ("persona", "language", *LABELS)]
    assert len({one.character_id for one in (first, *changed)}) == 11


def test_a_row_without_a_language_has_that_of_the_run():
    row = {name: value for name, value in made_profile(1).items() if name != "language"}
    assert read_given({**row, "age": 34}, "Korean").language == "Korean"
    assert read_given({**row, "age": 34, "language": None}, "Korean").age == "34"


@pytest.mark.parametrize(
    ("changed", "reason", "detail"),
    [
        ({"age": None}, "empty_field", "age: is empty"),
        ({"race": " \t"}, "empty_field", "race: is empty"),
        ({"persona": ""}, "empty_field", "persona: is empty"),
        ({"age": True}, "not_text", "age: True"),
        ({"name": ["a"]}, "not_text", "name: ['a']"),
        ({"name": 3.5}, "not_text", "name: 3.5"),
        ({"language": 3}, "not_text", "language: 3"),
        ({"name": "a\0"}, "invalid_text", "Name: a"),
        ({"persona": "a\0"}, "invalid_text", "persona: "),
        ({"experience": "x" * 30_000}, "too_long", "30,"),
        ({"experience": "</think> Bakes."}, "leaked_thoughts", "</think>"),
    ],
)
def test_invalid_fields_are_rejected_by_name(changed, reason, detail):
    found = read_given({**made_profile(1), **changed}, "English")
    assert isinstance(found, Reject)
    assert found.reason == reason
    assert detail in found.detail


def test_missing_columns_are_all_named():
    row = {name: value for name, value in made_profile(1).items() if name not in ("age", "persona")}
    found = read_given(row, "English")
    assert (found.reason, found.detail.startswith("no 'persona', 'age' in ['appearance'")) == ("missing_column", True)
    assert read_given("a baker", "English").reason == "not_an_object"
