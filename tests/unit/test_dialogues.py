"""Dialogues: requests, and the parsing of replies."""

import json
from dataclasses import replace

import pytest

from factory.config import Strategy
from factory.inference.prompts import load_prompt
from factory.records import Assignment, Completion, Dialogue, Message, Reject, Request
from factory.synthesis.dialogues import DialogueRecipe, dialogue_ids, parse_dialogue, render_dialogue


def assignment(*contents: str) -> Assignment:
    messages = tuple(Message(("user", "assistant")[n % 2], content) for n, content in enumerate(contents))
    return Assignment("c", "i", "lima", persona="a baker", profile="Name: Ada", messages=messages)


def recipe(strategy: Strategy) -> DialogueRecipe:
    return DialogueRecipe(strategy, load_prompt(f"dialogue-{strategy}"), load_prompt("training-system"), "model")


def parse(strategy: Strategy, row: Assignment, *replies: str) -> Dialogue | Reject:
    return parse_dialogue(recipe(strategy), row, Completion(replies=replies))


def test_generation_does_not_show_the_references():
    request = render_dialogue(recipe("generate"), assignment("q1", "REF1", "q2", "REF2"))
    assert isinstance(request, Request)
    assert (request.messages[-1], request.follow_ups) == (Message("user", "q1"), ("q2",))
    assert not any("REF" in m.content for m in request.messages)


def test_profile_precedes_the_parts_that_differ():
    first, second = (render_dialogue(recipe("generate"), assignment(question)) for question in ("q1", "q2"))
    assert first.messages[0] == second.messages[0]
    assert "Name: Ada" in first.messages[0].content


def test_rewriting_requests_one_reply_per_turn():
    request = render_dialogue(recipe("rewrite"), assignment("q1", "a1", "q2", "a2"))
    bounds = json.loads(request.schema)["properties"]["replies"]
    assert (bounds["minItems"], bounds["maxItems"]) == (2, 2)
    assert all(text in request.messages[1].content for text in ("q1", "a1", "q2", "a2"))


def test_rewriting_needs_a_response_to_every_turn():
    assert render_dialogue(recipe("rewrite"), assignment("q1", "a1", "q2")).reason == "no_reference"


def test_generated_dialogue_has_the_system_message():
    dialogue = parse("generate", assignment("q1", "a1", "q2", "a2"), " r1 ", "r2\n")
    assert isinstance(dialogue, Dialogue)
    assert [m.role for m in dialogue.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert [m.content for m in dialogue.messages[1:]] == ["q1", "r1", "q2", "r2"]
    assert "# Persona\na baker" in dialogue.messages[0].content
    assert "# Character Profile\nName: Ada" in dialogue.messages[0].content


@pytest.mark.parametrize("around", ["{}", "```json\n{}\n```"])
def test_rewritten_dialogue_keeps_its_user_turns(around):
    reply = around.replace("{}", json.dumps({"replies": ["r1", "r2"]}))
    dialogue = parse("rewrite", assignment("q1", "a1", "q2", "a2"), reply)
    assert [m.content for m in dialogue.messages[1:]] == ["q1", "r1", "q2", "r2"]


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
def test_invalid_rewriting_is_rejected(reply, reason):
    dialogue = parse("rewrite", assignment("q1", "a1"), reply)
    assert isinstance(dialogue, Reject)
    assert dialogue.reason == reason
    assert dialogue.detail.strip() in reply or "replies" in dialogue.detail or reason == "invalid_text"


def test_empty_and_invalid_replies_are_rejected():
    assert parse("generate", assignment("q1"), "  ").reason == "empty_reply"
    assert parse("generate", assignment("q1"), "half \ud83d").reason == "invalid_text"


def test_dialogue_id_depends_on_the_recipe():
    row = assignment("q1", "a1")
    ids = {dialogue_ids(recipe(strategy), row)["dialogue_id"] for strategy in ("generate", "rewrite")}
    ids.add(dialogue_ids(recipe("rewrite"), replace(row, character_id="d"))["dialogue_id"])
    ids.add(dialogue_ids(recipe("rewrite"), replace(row, instruction_id="j"))["dialogue_id"])
    assert len(ids) == 4
    assert dialogue_ids(recipe("rewrite"), row) == dialogue_ids(recipe("rewrite"), row)
