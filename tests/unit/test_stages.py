"""What a model is asked, and how its replies are read."""

import json
from dataclasses import replace

import pytest

from factory.config import Strategy
from factory.inference.prompts import load_prompt
from factory.records import Assignment, Completion, Dialogue, Message, Persona, Profile, ProfileFields, Reject, Request
from factory.synthesis.dialogues import Style, dialogue_ids, parse_dialogue, render_dialogue
from factory.synthesis.profiles import parse_profile, render_profile

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


def assignment(*contents: str) -> Assignment:
    messages = tuple(Message(("user", "assistant")[n % 2], content) for n, content in enumerate(contents))
    return Assignment("c", "i", "lima", persona="a baker", profile="Name: Ada", messages=messages)


def style(strategy: Strategy) -> Style:
    return Style(strategy, load_prompt(f"dialogue-{strategy}"), load_prompt("training-system"), "model")


def read(strategy: Strategy, work: Assignment, *replies: str) -> Dialogue | Reject:
    return parse_dialogue(style(strategy), work, Completion(replies=replies))


def test_a_profile_is_the_eight_items_and_their_text():
    made = parse_profile("Korean", PERSONA, Completion(replies=(json.dumps(FIELDS),)))
    assert isinstance(made, Profile)
    assert made.profile.startswith("Name: Ada Oduya\nAge: 34\n")
    assert "General Experience: Baked for years. Then taught." in made.profile
    assert made.language == "Korean"


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```", "```\n{}\n```\n", "Here it is:\n{}"])
def test_a_profile_of_a_model_that_is_not_guided_is_read(around):
    loose = {**FIELDS, "age": 34, "appearance": "Tall. " * 100, "experience": "Baked.\nTaught."}
    text = json.dumps(loose).replace("\\n", "\n")
    made = parse_profile("English", PERSONA, Completion(replies=(around.replace("{}", text),)))
    assert isinstance(made, Profile)
    assert (made.age, made.appearance, made.experience) == ("34", ("Tall. " * 100).strip(), "Baked. Taught.")


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
def test_a_reply_that_is_no_profile_is_rejected_and_kept(reply, reason):
    assert parse_profile("English", PERSONA, Completion(replies=(reply,))) == Reject(reason, reply)


def test_a_profile_is_asked_for_in_its_language_and_shape():
    request = render_profile(load_prompt("profile"), "Korean", PERSONA)
    assert "Korean" in request.messages[0].content
    assert request.schema == json.dumps(ProfileFields.model_json_schema())
    assert json.loads(request.schema)["properties"]["appearance"]["maxLength"] == 400


def test_generation_asks_turn_by_turn_and_never_shows_the_references():
    request = render_dialogue(style("generate"), assignment("q1", "REF1", "q2", "REF2"))
    assert isinstance(request, Request)
    assert (request.messages[-1], request.follow_ups) == (Message("user", "q1"), ("q2",))
    assert not any("REF" in m.content for m in request.messages)


def test_the_profile_stands_before_what_differs_between_dialogues():
    one, other = (render_dialogue(style("generate"), assignment(question)) for question in ("q1", "q2"))
    assert one.messages[0] == other.messages[0]
    assert "Name: Ada" in one.messages[0].content


def test_rewriting_asks_for_as_many_replies_as_there_are():
    request = render_dialogue(style("rewrite"), assignment("q1", "a1", "q2", "a2"))
    bounds = json.loads(request.schema)["properties"]["replies"]
    assert (bounds["minItems"], bounds["maxItems"]) == (2, 2)
    assert all(text in request.messages[1].content for text in ("q1", "a1", "q2", "a2"))


def test_rewriting_needs_a_response_to_every_turn():
    assert render_dialogue(style("rewrite"), assignment("q1", "a1", "q2")).reason == "no_reference"


def test_a_generated_dialogue_starts_with_the_training_system_message():
    made = read("generate", assignment("q1", "a1", "q2", "a2"), " r1 ", "r2\n")
    assert isinstance(made, Dialogue)
    assert [m.role for m in made.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [m.content for m in made.messages[1:]] == ["q1", "r1", "q2", "r2"]
    assert "# Persona\na baker" in made.messages[0].content
    assert "# Character Profile\nName: Ada" in made.messages[0].content


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```"])
def test_a_rewritten_dialogue_keeps_its_user_turns(around):
    reply = around.replace("{}", json.dumps({"replies": ["r1", "r2"]}))
    made = read("rewrite", assignment("q1", "a1", "q2", "a2"), reply)
    assert [m.content for m in made.messages[1:]] == ["q1", "r1", "q2", "r2"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("r1", "invalid_reply"), ('{"replies": "r1"}', "invalid_reply"), ('{"replies": [1]}', "invalid_reply"),
        ("[]", "invalid_reply"), ("[" * 100_000, "invalid_reply"),
        ('{"replies": ["half \\ud83d"]}', "invalid_text"), ('{"replies": ["a\\u0000"]}', "invalid_text"),
        ('{"replies": ["r1", "r2"]}', "wrong_turns"), ('{"replies": []}', "wrong_turns"),
        ('{"replies": [" "]}', "empty_reply"),
    ],
)  # fmt: skip
def test_a_reply_that_is_no_rewriting_is_rejected(reply, reason):
    made = read("rewrite", assignment("q1", "a1"), reply)
    assert isinstance(made, Reject)
    assert made.reason == reason
    assert made.detail.strip() in reply or "replies" in made.detail or reason == "invalid_text"


def test_an_empty_reply_is_rejected():
    assert read("generate", assignment("q1"), "  ").reason == "empty_reply"
    assert read("generate", assignment("q1"), "half \ud83d").reason == "invalid_text"


def test_the_id_of_a_dialogue_depends_on_how_it_was_made():
    work = assignment("q1", "a1")
    made = {dialogue_ids(style(strategy), work)["dialogue_id"] for strategy in ("generate", "rewrite")}
    made.add(dialogue_ids(style("rewrite"), replace(work, character_id="d"))["dialogue_id"])
    made.add(dialogue_ids(style("rewrite"), replace(work, instruction_id="j"))["dialogue_id"])
    assert len(made) == 4
    assert dialogue_ids(style("rewrite"), work) == dialogue_ids(style("rewrite"), work)
