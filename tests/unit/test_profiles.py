"""Profiles: requests, and the parsing of replies."""

import json
import pickle
from functools import partial

import pytest

from factory.inference.prompts import load_prompt
from factory.records import Completion, Persona, Profile, ProfileFields, Reject
from factory.synthesis.profiles import ProfileCheck, parse_profile, render_profile

FIELDS = {
    "name": "Ada Oduya",
    "age": "34",
    "gender": "female",
    "race": "Black",
    "birth_place": "Lagos",
    "appearance": "Tall.",
    "experience": "Baked for years.\nThen taught.",
    "personality": "Warm.",
}
PERSONA = Persona(character_id="0" * 16, persona="a baker")


def test_profile_has_the_eight_items_and_their_text():
    profile = parse_profile("Korean", PERSONA, Completion(replies=(json.dumps(FIELDS),)))
    assert isinstance(profile, Profile)
    assert profile.profile.startswith("Name: Ada Oduya\nAge: 34\n")
    assert "General Experience: Baked for years. Then taught." in profile.profile
    assert profile.language == "Korean"


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "```\n{}\n```\n", "Here it is:\n{}"])
def test_profile_without_guided_decoding_is_parsed(around):
    fields = {**FIELDS, "age": 34, "appearance": "Tall. " * 100, "experience": "Baked.\nTaught."}
    text = json.dumps(fields).replace("\\n", "\n")
    profile = parse_profile("English", PERSONA, Completion(replies=(around.replace("{}", text),)))
    assert isinstance(profile, Profile)
    assert (profile.age, profile.appearance, profile.experience) == ("34", ("Tall. " * 100).strip(), "Baked. Taught.")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I am a baker", "invalid_reply"),
        ("", "invalid_reply"),
        (json.dumps({**FIELDS, "name": ""}), "invalid_reply"),
        (json.dumps({**FIELDS, "name": "  "}), "empty_field"),
        (json.dumps({k: v for k, v in FIELDS.items() if k != "age"}), "invalid_reply"),
        (json.dumps({**FIELDS, "age": True}), "invalid_reply"),
        (json.dumps({**FIELDS, "age": None}), "invalid_reply"),
        (json.dumps({**FIELDS, "age": ["34"]}), "invalid_reply"),
        (json.dumps({**FIELDS, "nickname": "Addie"}), "invalid_reply"),
        (json.dumps([FIELDS, FIELDS]), "invalid_reply"),
        (json.dumps(FIELDS)[:-1], "invalid_reply"),
        (json.dumps({**FIELDS, "name": "half \ud83d"}), "invalid_reply"),
        (json.dumps({**FIELDS, "name": "a\0"}), "invalid_text"),
        ("[" * 100_000, "invalid_reply"),
    ],
)
def test_invalid_profile_is_rejected(reply, reason):
    assert parse_profile("English", PERSONA, Completion(replies=(reply,))) == Reject(reason, reply)


def test_request_has_the_language_and_schema():
    request = render_profile(load_prompt("profile"), "Korean", PERSONA)
    assert "Korean" in request.messages[0].content
    assert request.schema == json.dumps(ProfileFields.model_json_schema())
    assert json.loads(request.schema)["properties"]["appearance"]["maxLength"] == 400


def test_attempts_end_with_a_profile_that_the_rules_accept():
    good = json.dumps(
        FIELDS | {"appearance": "Tall, with short hair, she says.", "personality": "Warm and dry, she is."}
    )
    good = good.replace("Baked for", "She baked for the whole street for")
    parse = partial(parse_profile, "English", check=ProfileCheck("reject", "Invent a character."))
    request = render_profile(load_prompt("profile"), "English", PERSONA, attempts=3, parse=parse)
    sent = pickle.loads(pickle.dumps(request))
    assert sent.attempts == 3
    assert sent.is_parsable(good)
    assert not sent.is_parsable(good.replace("Lagos", "unknown"))
    assert not sent.is_parsable("I cannot.")


def test_a_profile_is_asked_for_once_by_default():
    prompt = load_prompt("profile")
    request = render_profile(prompt, "English", PERSONA, parse=partial(parse_profile, "English"))
    assert request == render_profile(prompt, "English", PERSONA)
    assert (request.attempts, request.is_parsable) == (1, None)
